"""Emoji artwork over photographs: another world for the same training, with pictures of 128 pixels."""
