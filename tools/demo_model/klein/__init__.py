"""A tiny FLUX.2-klein for the same scenes: networks, tokenizer, training by rectified flow, and the snapshot's settings."""
