"""Run with `python -m unittest` in this folder: hard scenes mean one thing and are exact, the held-out ones apart."""

import unittest
from unittest import mock

import numpy as np
from PIL import Image

import photographs
from hard import grounds
from hard.items import ACTIONS, make
from hard.scenes import STRATA
from hard.words import CLEARLY_APART, CLEARLY_LARGER, NATURAL, SMALLER
from make_hard import plan


def _noise(photograph: photographs.Photograph) -> Image.Image:
    """Stands in for a photograph, so that none has to be fetched."""
    levels = np.random.default_rng(len(photograph.name)).integers(90, 170, (40, 40, 3), np.uint8)
    return Image.fromarray(levels).resize((320, 320), Image.BICUBIC)


@mock.patch.object(photographs, "opened", _noise)
class HardScenes(unittest.TestCase):
    def items(self, count: int, held_out: bool = False) -> list:
        return [make(seed, *kinds, held_out) for seed, kinds in enumerate(plan(count))]

    def test_a_scene_is_the_same_for_the_same_seed(self):
        for first, second in zip(self.items(8), self.items(8)):
            self.assertEqual(first.edit, second.edit)
            np.testing.assert_array_equal(first.source, second.source)
            np.testing.assert_array_equal(first.target, second.target)

    def test_every_stratum_has_every_action(self):
        self.assertEqual(
            set(plan(len(STRATA) * len(ACTIONS))), {(name, action) for name in STRATA for action in ACTIONS}
        )

    def test_source_and_target_differ_in_the_edit_mask_alone(self):
        for item in self.items(48):
            differs = (item.source != item.target).any(-1)
            self.assertTrue(differs.any())
            self.assertFalse((differs & ~item.edit_mask).any(), item.edit.instruction)
            self.assertTrue((item.object_mask <= item.edit_mask).all())

    def test_what_is_said_tells_the_object_from_every_rival(self):
        for item in self.items(96):
            edit = item.edit
            if edit.action == "add":
                continue
            meant = edit.before[edit.old]
            rivals = [it for i, it in enumerate(edit.before) if i != edit.old and it.noun == meant.noun]
            if meant.color in edit.phrase.name:
                rivals = [it for it in rivals if it.color == meant.color]
            self.assertEqual(bool(rivals), edit.phrase.said in ("size", "place"), edit.instruction)
            if edit.phrase.said == "size":
                small = edit.phrase.name.split()[0] in SMALLER[False] + SMALLER[True]
                for it in rivals:
                    ratio = it.radius / meant.radius if small else meant.radius / it.radius
                    self.assertGreaterEqual(ratio, CLEARLY_LARGER, edit.instruction)
            if edit.phrase.said == "place":
                words = edit.phrase.before + edit.phrase.after
                outer = {
                    "left": (-1, 0),
                    "right": (1, 0),
                    "top": (0, -1),
                    "upper": (0, -1),
                    "bottom": (0, 1),
                    "lower": (0, 1),
                }
                across, down = next(way for word, way in outer.items() if word in words)
                for it in rivals:
                    apart = (meant.x - it.x) * across + (meant.y - it.y) * down
                    self.assertGreaterEqual(apart, CLEARLY_APART, edit.instruction)

    def test_an_absent_object_is_not_in_the_picture(self):
        for item in self.items(64):
            if item.edit.absent:
                kinds = {it.noun for it in item.edit.before} | {f"{it.color} {it.noun}" for it in item.edit.before}
                self.assertNotIn(item.edit.absent.words, kinds)
                self.assertIn(item.edit.absent.words, item.edit.absent.instruction)

    def test_the_held_out_scenes_share_no_photograph_no_texture_and_no_natural_words(self):
        drawn = [
            {it.strata["ground_name"] for it in self.items(96, kept) if it.strata["ground"] != "plain"}
            for kept in (False, True)
        ]
        self.assertTrue(all(drawn))
        self.assertFalse(drawn[False] & drawn[True])
        self.assertFalse(set(grounds.TEXTURES[False]) & set(grounds.TEXTURES[True]))
        for texts in NATURAL.values():
            self.assertFalse(set(texts[0::2]) & set(texts[1::2]))


if __name__ == "__main__":
    unittest.main()
