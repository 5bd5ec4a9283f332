"""Run with `python -m unittest` in this folder: the scenes keep their promises, and training starts, learns and resumes."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

import recorded
from pairs import make_pair
from vocabulary import ACTIONS

HERE = Path(__file__).parent


def referents(edit) -> list:
    """Returns the things of the source that the edit's object phrase describes."""
    *traits, noun = edit.object.split()
    return [t for t in edit.before.things if t.noun == noun and all(trait in (t.color, t.size) for trait in traits)]


class Scenes(unittest.TestCase):
    def test_a_pair_is_the_same_for_the_same_seed(self):
        for seed in range(5):
            first, second = make_pair(seed, 64), make_pair(seed, 64)
            self.assertEqual(first.edit, second.edit)
            np.testing.assert_array_equal(first.source, second.source)
            np.testing.assert_array_equal(first.target, second.target)

    def test_source_and_target_differ_only_inside_the_edit_mask_and_its_soft_edge(self):
        for seed in range(60):
            pair = make_pair(seed, 64)
            differs = np.abs(pair.source.astype(int) - pair.target).max(-1) > 64
            self.assertTrue(differs.any())
            near = np.pad(pair.edit_mask, 1)
            near = np.max([near[y : y + 64, x : x + 64] for y in range(3) for x in range(3)], 0)
            self.assertFalse((differs & ~near).any(), pair.edit.instruction)

    def test_the_phrase_means_exactly_the_edited_thing(self):
        for seed in range(200):
            edit = make_pair(seed, 64).edit
            self.assertEqual(edit.instruction[slice(*edit.span)], edit.object)
            if edit.action != "add":
                self.assertEqual(referents(edit), [edit.before.things[edit.old]])

    def test_every_action_can_be_asked_for(self):
        for action in ACTIONS:
            self.assertEqual(make_pair(7, 64, action).edit.action, action)

    def test_an_object_covers_at_most_a_fifth_of_the_picture(self):
        self.assertLess(max(make_pair(seed, 64).strata["area"] for seed in range(200)), 0.2)


def train(run: Path, steps: int, preset: str = "shapes") -> list[dict]:
    """Trains for a few steps, to `steps` in all; returns the log."""
    few = {"shapes": ["--vae-steps", 30, "--log-every", 10], "emoji": ["--vae-steps", 4, "--log-every", 4]}
    command = [sys.executable, "train.py", "--run", run, "--preset", preset, "--steps", steps, "--batch", 4]
    command += [*few[preset], "--save-every", 0.05, "--threads", 1]
    subprocess.run([str(part) for part in command], cwd=HERE, check=True, capture_output=True)
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


class Training(unittest.TestCase):
    def test_training_starts_learns_and_resumes(self):
        with tempfile.TemporaryDirectory() as folder:
            log = train(Path(folder) / "run", 40)
            self.assertLess(log[-1]["loss"], log[0]["loss"])
            resumed = train(Path(folder) / "run", 60)
            self.assertEqual(resumed[: len(log)], log)
            self.assertEqual([line["step"] for line in resumed], [10, 20, 30, 40, 50, 60])
            self.assertGreater(resumed[-1]["seconds"], log[-1]["seconds"])
            self.assertLess(resumed[-1]["loss"], log[0]["loss"])

    def test_pairs_are_shown_again_from_the_latest_ones(self):
        fresh = [{"ids": torch.arange(8) + 8 * step} for step in range(2 * recorded.KEPT_BATCHES)]
        self.assertEqual([len(batch["ids"]) for batch in recorded.shown(fresh, 1)], [8] * len(fresh))
        batches = [batch["ids"] for batch in recorded.shown(fresh, 3)]
        self.assertEqual(len(batches), 3 * len(fresh))
        for step, ids in enumerate(batches):
            latest = 8 * (step // 3 + 1)
            self.assertTrue((ids < latest).all() and (ids >= latest - 8 * recorded.KEPT_BATCHES).all())
        counts = torch.bincount(torch.cat(batches)).float()
        self.assertAlmostEqual(counts.mean().item(), 3, delta=0.5)


if __name__ == "__main__":
    unittest.main()
