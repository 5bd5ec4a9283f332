"""Run with `python -m unittest` in this folder: emoji scenes keep their promises; their model starts, learns, resumes.

Photographs and artwork are stood in for, so that none has to be fetched.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw

import checkpoint
import photographs
import seeds
from emoji import render
from emoji.artwork import STYLES
from emoji.pairs import ACTIONS, make_pair
from emoji.vocabulary import NOUNS, PHRASINGS
from models import PRESETS, new_text_encoder, new_unet, new_vae
from test_demo_model import train
from tokenizer import LENGTH, build
from worlds import WORLDS

# Of what is shipped, in half precision.
MOST_BYTES = 25_000_000


def _photograph(photograph: photographs.Photograph) -> Image.Image:
    levels = np.random.default_rng(len(photograph.name)).integers(60, 190, (30, 30, 3), np.uint8)
    return Image.fromarray(levels).resize((240, 240), Image.BICUBIC)


def _icon(style: str, noun: str) -> Image.Image:
    """Returns a disc in colors of the noun's own, with a mark."""
    picture = Image.new("RGBA", (96, 96))
    hue = NOUNS.index(noun) * 360 // len(NOUNS)
    ImageDraw.Draw(picture).ellipse([0, 0, 95, 95], fill=f"hsl({hue}, 80%, 45%)")
    ImageDraw.Draw(picture).rectangle([30, 20 + NOUNS.index(noun) % 9 * 4, 66, 70], fill=f"hsl({hue}, 60%, 75%)")
    return picture


@mock.patch.object(photographs, "opened", _photograph)
@mock.patch.object(render, "icon", _icon)
class EmojiScenes(unittest.TestCase):
    def test_a_pair_is_the_same_for_the_same_seed(self):
        for seed in range(6):
            first, second = make_pair(seed, 128), make_pair(seed, 128)
            self.assertEqual(first.edit, second.edit)
            np.testing.assert_array_equal(first.source, second.source)
            np.testing.assert_array_equal(first.target, second.target)

    def test_source_and_target_differ_only_inside_the_edit_mask_and_its_soft_edge(self):
        for seed in range(40):
            pair = make_pair(seed, 128)
            differs = np.abs(pair.source.astype(int) - pair.target).max(-1) > 64
            near = np.pad(pair.edit_mask, 1)
            near = np.max([near[y : y + 128, x : x + 128] for y in range(3) for x in range(3)], 0)
            self.assertFalse((differs & ~near).any(), pair.edit.instruction)

    def test_the_object_stands_where_its_span_says(self):
        for seed in range(120):
            edit = make_pair(seed, 128).edit
            self.assertEqual(edit.instruction[slice(*edit.span)], edit.object)

    def test_every_action_can_be_asked_for(self):
        for action in ACTIONS:
            self.assertEqual(make_pair(7, 128, action).edit.action, action)

    def test_held_out_sets_have_a_style_and_photographs_of_their_own(self):
        kept = {it.name for it in photographs.ALL if it.held_out}
        for seed in (*range(20), *range(seeds.HELD_OUT_SETS, seeds.HELD_OUT_SETS + 20)):
            pair, held_out = make_pair(seed, 128), seed >= seeds.HELD_OUT_SETS
            self.assertEqual({STYLES[it.style].held_out for it in (*pair.edit.before, *pair.edit.after)}, {held_out})
            self.assertEqual(pair.strata["ground_name"] in kept, held_out)

    def test_there_are_a_hundred_phrasings_and_every_word_is_one_token(self):
        self.assertGreaterEqual(len(set().union(*PHRASINGS.values())), 100)
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = build(Path(folder), WORLDS["emoji"].words)
            for seed in range(200):
                ids = tokenizer(make_pair(seed, 128).edit.instruction)["input_ids"]
                self.assertLessEqual(len(ids), LENGTH)


class EmojiModel(unittest.TestCase):
    def test_what_would_be_shipped_is_small_enough(self):
        preset = PRESETS["emoji"]
        with tempfile.TemporaryDirectory() as folder:
            text = new_text_encoder(preset, build(Path(folder), WORLDS["emoji"].words))
        parameters = sum(p.numel() for part in (new_unet(preset), new_vae(preset), text) for p in part.parameters())
        self.assertLess(2 * parameters, MOST_BYTES)

    def test_training_starts_learns_and_resumes_also_from_a_packed_checkpoint(self):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for style in STYLES:
                (folder / "artwork" / style).mkdir(parents=True)
                for noun in NOUNS:
                    _icon(style, noun).save(folder / "artwork" / style / f"{noun}.png")
            (folder / "photographs").mkdir()
            for photograph in photographs.ALL:
                _photograph(photograph).save(folder / "photographs" / f"{photograph.name}.png")
            places = {"ARTWORK": str(folder / "artwork"), "PHOTOGRAPHS": str(folder / "photographs")}
            with mock.patch.dict(os.environ, places):
                log = train(folder / "run", 12, "emoji")
                self.assertLess(log[-1]["loss"], log[0]["loss"])
                parts = checkpoint.pack(folder / "run", folder / "packed", 8)
                self.assertGreater(len(parts), 1)
                command = [sys.executable, checkpoint.__file__, "unpack", folder / "packed", folder / "elsewhere"]
                subprocess.run(command, check=True)
                resumed = train(folder / "elsewhere", 18, "emoji")
                self.assertEqual([line["step"] for line in resumed], [4, 8, 12, 16])
                self.assertLess(resumed[-1]["loss"], log[0]["loss"])


if __name__ == "__main__":
    unittest.main()
