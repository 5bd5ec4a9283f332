"""Run with `python -m unittest` in this folder: the klein learns, resumes, and its snapshot edits in diffusers and in retouch.

What needs retouch is left out, with a message, where neither `RETOUCH` names its command nor target/release holds it.
KLEIN_LONG=1 adds a test of minutes; KLEIN_KEEP is a folder for what that one trains.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from diffusers import Flux2KleinPipeline
from diffusers.utils import logging
from PIL import Image
from torch.utils.data import default_collate

import data
import judge
import judging
import make_heldout
import seeds
import snapshot
from data import Pairs, draw, pixels
from klein import packing
from klein import tokenizer as bpe
from klein.architecture import Klein
from klein.models import as_flux2, taps
from models import PRESETS, KleinShape, Preset, new_vae
from train import Trainer, arguments
from train_vae import scaled
from worlds import WORLDS

ROOT = Path(__file__).parents[2]
RETOUCH = Path(os.environ.get("RETOUCH", ROOT / "target" / "release" / "retouch"))
PRESET = PRESETS["klein-small"]
# Steps of the training whose loss is looked at. KLEIN_STEPS makes more of them.
STEPS = int(os.environ.get("KLEIN_STEPS", 120))
STEPS_BY_HEART = 600
# Of what is shipped, in half precision.
MOST_BYTES = 12_000_000
# A loss has clearly fallen below this share of what it was.
FALLEN = 0.8
INSTRUCTION = "make the red star blue"

logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def shuffled(networks: Klein) -> Klein:
    """Gives weights that begin at zero random values, so that each of them shows."""
    torch.manual_seed(1)
    for _, param in networks.parameters:
        if not param.any():
            torch.nn.init.normal_(param, std=0.3)
    return networks


def pictures(count: int) -> torch.Tensor:
    return scaled(torch.stack([pixels(draw(PRESET, seed).source) for seed in range(count)]), "cpu")


def started(run: Path, preset: str, vae: Path, steps: int) -> Trainer:
    """Returns the trainer of `run`, where it was left."""
    command = ["--run", run, "--preset", preset, "--vae", vae, "--steps", steps, "--batch", 4, "--workers", 0]
    trainer = Trainer(arguments([str(it) for it in command]))
    trainer.resume()
    return trainer


def write_log(run: Path, steps: int) -> None:
    """Writes the line of which a snapshot's card tells."""
    (run / "log.jsonl").write_text(json.dumps({"step": steps, "drawn": 4 * steps, "seconds": 60, "loss": 1}))


def edited(folder: Path, pair, steps: int, guidance: float) -> np.ndarray:
    """Returns diffusers' edit of a pair, (h, w, 3) in 0..1."""
    pipe = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return Klein.edit(pipe, [pair], steps, guidance, 0)[0]


class Parts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.tokenizer = bpe.build(Path(cls.folder.name) / "tokenizer", WORLDS["shapes"].words)
        torch.manual_seed(0)
        cls.vae = new_vae(PRESET).eval()
        cls.flux2 = as_flux2(cls.vae, pictures(8))

    def test_every_word_and_every_part_of_the_template_is_one_token_also_after_it_was_saved(self):
        tokenizer = Klein.open_tokenizer(Path(self.folder.name) / "tokenizer", ())
        prompt = [{"role": "user", "content": INSTRUCTION}]
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        self.assertEqual(text, bpe.BEFORE + INSTRUCTION + bpe.AFTER)
        for words in (WORLDS["shapes"].words, ("<|im_start|>", "<think>", "\n\n")):
            self.assertEqual([len(tokenizer.tokenize(word)) for word in words], [1] * len(words))
        ids, tokens = bpe.token_mask(tokenizer, INSTRUCTION, (9, 17))
        self.assertEqual(tokenizer.decode(ids[tokens > 0]), " red star")
        self.assertEqual(ids[: len(tokenizer(text)["input_ids"])].tolist(), tokenizer(text)["input_ids"])

    def test_instructions_fit_their_length_and_the_object_has_its_tokens(self):
        for seed in range(200):
            edit = draw(PRESET, seed).edit
            ids, tokens = bpe.token_mask(self.tokenizer, edit.instruction, edit.span)
            self.assertEqual(ids[-1], self.tokenizer.pad_token_id)
            self.assertEqual(self.tokenizer.decode(ids[tokens > 0]).strip(), edit.object)

    def test_the_autoencoder_is_the_same_as_flux2s_and_its_cells_are_normalized(self):
        some = pictures(8)
        with torch.no_grad():
            latents, same = (vae.encode(some).latent_dist.mode() for vae in (self.vae, self.flux2))
            torch.testing.assert_close(same, latents, rtol=0, atol=0)
            torch.testing.assert_close(self.flux2.decode(same).sample, self.vae.decode(latents).sample, rtol=0, atol=0)
        cells = packing.patched(latents)
        torch.testing.assert_close(cells, Flux2KleinPipeline._patchify_latents(latents), rtol=0, atol=0)
        cells = packing.normalized(self.flux2, cells)
        self.assertLess(cells.mean((0, 2, 3)).abs().max(), 1e-4)
        self.assertLess((cells.std((0, 2, 3)) - 1).abs().max(), 0.05)

    def test_what_is_trained_is_what_diffusers_samples_with(self):
        """One step of the pipeline from noise at level 1 gives the noise without the trainer's velocity."""
        networks = shuffled(Klein(PRESET, self.tokenizer))
        pipe = networks.pipeline(self.flux2)
        pipe.set_progress_bar_config(disable=True)
        pair = draw(PRESET, 3)
        noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(5))
        sampled = pipe(
            prompt=pair.edit.instruction,
            image=Image.fromarray(pair.source),
            num_inference_steps=1,
            guidance_scale=1.0,
            latents=noise,
            output_type="latent",
            max_sequence_length=bpe.LENGTH,
            text_encoder_out_layers=taps(networks.text),
        ).images
        networks.to("cpu")
        source = scaled(pixels(pair.source)[None], "cpu")
        ids, _ = networks.read(pair.edit.instruction, pair.edit.span)
        with torch.enable_grad():
            level = torch.ones(1)
            picture = networks.encode(self.flux2, source).detach()
            velocity = networks.predict(noise, picture, level, networks.hidden(ids[None]))
        self.assertEqual([tuple(it.shape) for it in networks.maps], [(1, 2, 64, bpe.LENGTH)] * 3)
        sampled = packing.normalized(self.flux2, Flux2KleinPipeline._patchify_latents(sampled))
        self.assertGreater(velocity.std(), 0.1)
        torch.testing.assert_close(sampled, (noise - velocity).detach(), rtol=1e-4, atol=1e-4)

    def test_what_would_be_shipped_is_small_enough(self):
        preset = PRESETS["klein"]
        networks = Klein(preset, self.tokenizer)
        parts = [*networks.modules.values(), new_vae(preset)]
        self.assertLess(2 * sum(param.numel() for part in parts for param in part.parameters()), MOST_BYTES)


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Makes one run and its snapshot. The autoencoder is not trained: its statistics are measured all the same."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        cls.addClassCleanup(torch.set_num_threads, threads)
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = Path(cls.folder.name)
        torch.manual_seed(0)
        new_vae(PRESET).save_pretrained(cls.root / "vae")
        trainer = cls.trainer("run", STEPS)
        cls.losses = [cls.loss(trainer)]
        for _, batch in zip(range(STEPS), trainer.batches()):
            trainer.train_step(batch)
        cls.losses.append(cls.loss(trainer))
        trainer.save()
        write_log(cls.root / "run", STEPS)
        cls.snapshot = cls.root / "snapshot"
        snapshot.export(cls.root / "run", cls.snapshot, None)

    @staticmethod
    def loss(trainer: Trainer) -> float:
        """Returns the loss on held-out pairs, with the same noise each time."""
        unseen = Pairs(PRESET, trainer.networks.read)
        drawn = default_collate([unseen[seeds.HELD_OUT + index] for index in range(32)])
        with torch.random.fork_rng():
            torch.manual_seed(2)
            return float(trainer.networks.losses(trainer.encode(drawn), 0)[0].detach())

    @classmethod
    def trainer(cls, name: str, steps: int) -> Trainer:
        return started(cls.root / name, "klein-small", cls.root / "vae", steps)

    def test_the_loss_falls_clearly(self):
        untrained, trained = self.losses
        self.assertLess(trained, FALLEN * untrained)

    def test_a_run_that_was_interrupted_goes_on_bit_by_bit(self):
        whole = self.trainer("whole", 6)
        for _, batch in zip(range(6), whole.batches()):
            whole.train_step(batch)
        for end in (3, 6):
            piece = self.trainer("pieces", 6)
            batches = piece.batches()
            while piece.step < end:
                piece.train_step(next(batches))
            piece.save()
        self.assertEqual((piece.step, piece.drawn), (whole.step, whole.drawn))
        for found, wanted in zip([*piece.params, *piece.average.values], [*whole.params, *whole.average.values], strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)

    def test_a_run_begins_with_a_snapshots_weights(self):
        trainer = self.trainer("run", STEPS)
        fresh = Klein(PRESET, trainer.networks.tokenizer)
        fresh.start_from(self.snapshot)
        for (name, param), average in zip(fresh.parameters, trainer.average.values, strict=True):
            torch.testing.assert_close(param.data, average.half().float(), rtol=0, atol=0, msg=name)

    def test_diffusers_loads_the_snapshot_and_edits(self):
        pair = judge.held_out(4, 64)[0]
        made = edited(self.snapshot, pair, 2, 4.0)
        self.assertEqual(made.shape, (64, 64, 3))
        self.assertTrue(np.isfinite(made).all())
        architecture, pipe = snapshot.load(self.snapshot)
        self.assertIs(architecture, Klein)
        self.assertFalse(pipe.config.is_distilled)

    def retouch(self, *arguments) -> str:
        command = [RETOUCH, *arguments]
        done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @unittest.skipUnless(RETOUCH.exists(), f"no retouch at {RETOUCH}: THE SNAPSHOT WAS NOT TRIED WITH IT")
    def test_retouch_makes_the_edit_that_diffusers_makes(self):
        self.assertIn("Flux2KleinPipeline", self.retouch("inspect", "--model", self.snapshot))
        pair = judge.held_out(4, 64)[0]
        source, result = self.root / "source.png", self.root / "edited.png"
        Image.fromarray(pair.source).save(source)
        plain = ["--method", "instruct-pix2pix", "--preserve", "none", "--dtype", "fp32", "--seed", pair.seed]
        self.retouch("edit", source, pair.edit.instruction, "--model", self.snapshot, "--steps", 4, "-o", result, *plain)
        found, wanted = np.asarray(Image.open(result).convert("RGB")) / 255, edited(self.snapshot, pair, 4, 4.0)
        self.assertGreater(-10 * np.log10(np.square(found - wanted).mean() + 1e-12), 45)

    @unittest.skipUnless(RETOUCH.exists(), f"no retouch at {RETOUCH}: THE SNAPSHOT WAS NOT EVALUATED")
    def test_retouch_evaluates_the_snapshot_on_held_out_scenes(self):
        scenes = self.root / "scenes"
        scenes.mkdir(exist_ok=True)
        lines = [make_heldout.write(draw(PRESET, seeds.HELD_OUT_SETS + it), str(it), scenes) for it in range(2)]
        (scenes / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        out = self.root / "eval"
        self.retouch("eval", scenes / "manifest.jsonl", "--model", self.snapshot, "--out", out, "--seed", 1, "--limit", 2)
        self.assertTrue(any(out.iterdir()))


@unittest.skipUnless(os.environ.get("KLEIN_LONG"), "KLEIN_LONG is not set: NO EDIT WAS LEARNED BY HEART")
class ByHeart(unittest.TestCase):
    """Four minutes of a core: what is learned is what diffusers samples, to the end."""

    def test_pairs_that_were_learned_by_heart_are_edited(self):
        shape = KleinShape(2, (4, 12, 12, 4), 1, 3, 48, 2, 2)
        presets = {"klein-by-heart": Preset("shapes", 64, (16, 32), shape)}
        with mock.patch.dict(PRESETS, presets), tempfile.TemporaryDirectory() as scratch:
            folder = Path(os.environ.get("KLEIN_KEEP", scratch))
            trainer = started(folder / "run", "klein-by-heart", ROOT / "assets" / "demo-model" / "vae", STEPS_BY_HEART)
            pairs = [draw(trainer.preset, seed) for seed in range(4)]
            batch = trainer.encode(next(data.batches(trainer.preset, trainer.networks.read, 4, 0, 0)))
            while trainer.step < STEPS_BY_HEART:
                inside = trainer.train_step(batch)["inside"]
            trainer.save()
            write_log(folder / "run", STEPS_BY_HEART)
            snapshot.export(folder / "run", folder / "snapshot", None)
            for pair in pairs:
                picture = 255 * edited(folder / "snapshot", pair, 10, 2.0)
                left = judging.error(picture, pair.target, pair.edit_mask)
                self.assertLess(left, 0.25 * judging.error(pair.source, pair.target, pair.edit_mask), pair.edit.instruction)
            # Attention to the object's words was taught to lie on the object.
            self.assertGreater(float(inside), 0.7)


if __name__ == "__main__":
    unittest.main()
