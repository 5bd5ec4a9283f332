"""Trains a tiny InstructPix2Pix or FLUX.2-klein on drawn scenes: tokenizer, autoencoder, then text encoder and denoiser together.

    python train.py --run runs/demo --minutes 120
    python train.py --run runs/gpu --device cuda --bf16 --minutes 60 --batch 512 --workers 15 --times 4

The same command continues a run that was interrupted. SIGTERM and SIGINT save first: `timeout 570 python train.py …` trains piecewise.
"""

import argparse
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import architectures
import data
import train_vae
from architecture import Architecture
from models import PRESETS
from muon import optimizers, set_rate
from recorded import Recorded, shown
from training import Average, Budget, Log, rate_at
from worlds import WORLDS


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line, or what is given instead of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoint, log, tokenizer, autoencoder")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="train for this many steps")
    budget.add_argument("--minutes", type=float, help="train for this long, counted over all runs into the folder")
    parser.add_argument("--preset", choices=PRESETS, default="shapes", help="world, size of the pictures, networks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision: for GPUs, and CPUs with bf16 instructions")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--grounding", type=float, default=0.1, help="weight of the grounding loss; 0 leaves attention untaught")
    parser.add_argument("--inside", type=float, default=4.0, help="additional weight of the loss where the picture changes")
    parser.add_argument("--init", type=Path, help="snapshot folder to start from instead of from scratch")
    parser.add_argument("--vae", type=Path, help="folder of an autoencoder of the preset's shape, which is taken instead of training one")
    parser.add_argument("--origin", default="", help="with --init: what the snapshot was trained on, for the model card")
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--times", type=int, default=1, help="how often each pair is shown, if a GPU learns faster than they are drawn")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    parser.add_argument("--save-every", type=float, default=5, help="minutes between checkpoints")
    parser.add_argument("--log-every", type=int, default=25, help="steps between log lines")
    return parser.parse_args(given)


def prepare(args: argparse.Namespace) -> tuple[Architecture, nn.Module]:
    """Returns the run's networks, untrained, and its autoencoder."""
    args.run.mkdir(parents=True, exist_ok=True)
    settings = {"preset", "device", "batch", "times", "rate", "grounding", "inside", "origin"}
    kept = {name: value for name, value in vars(args).items() if name in settings}
    (args.run / "settings.json").write_text(json.dumps(kept))
    preset = PRESETS[args.preset]
    architecture = architectures.of(preset)
    vae_folder, given = args.run / "vae", args.init / "vae" if args.init else args.vae
    if not vae_folder.exists() and given:
        shutil.copytree(given, vae_folder)
    if not vae_folder.exists():
        train_vae.train(vae_folder, preset, args.device, args.vae_steps, args.workers, args.bf16)
    tokenizer = architecture.open_tokenizer(args.run / "tokenizer", WORLDS[preset.world].words)
    vae = architecture.open_vae(vae_folder, preset)
    torch.manual_seed(0)
    networks = architecture(preset, tokenizer, args.bf16)
    if args.init:
        networks.start_from(args.init)
    networks.to(args.device)
    return networks, vae.to(args.device).eval().requires_grad_(False)


class Trainer:
    """The networks in training and all that a checkpoint holds."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.preset = PRESETS[args.preset]
        self.networks, self.vae = prepare(args)
        named = self.networks.parameters
        self.params = [param for _, param in named]
        self.optimizers = optimizers(named, args.rate, self.networks.outer)
        self.average = Average(self.params)
        self.step = 0
        self.drawn = 0
        """Pairs so far, each shown `times` times."""
        self.learn = Recorded(self._learn) if args.device == "cuda" else self._learn
        self.budget = Budget(args.steps, args.minutes)

    @property
    def checkpoint(self) -> Path:
        return self.args.run / "checkpoint.pt"

    def save(self) -> None:
        """Writes the checkpoint; an interrupted write leaves the old one whole."""
        state = {
            "preset": self.args.preset,
            "step": self.step,
            "drawn": self.drawn,
            "seconds": self.budget.seconds,
            **{name: module.state_dict() for name, module in self.networks.modules.items()},
            "average": self.average.values,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": random_state(self.args.device),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def resume(self) -> None:
        """Takes up the run's checkpoint, if there is one. On a CPU what follows is then, bit by bit, what an uninterrupted
        run of as many steps would have made; batches that are shown again (`times`) are other ones."""
        torch.manual_seed(0)
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.args.device, weights_only=True)
        self.step, self.drawn, self.budget.spent = state["step"], state["drawn"], state["seconds"]
        for name, module in self.networks.modules.items():
            module.load_state_dict(state[name])
        for value, saved in zip(self.average.values, state["average"]):
            value.copy_(saved)
        # A packed checkpoint has no momentum.
        for optimizer, saved in zip(self.optimizers, state.get("optimizers", [])):
            optimizer.load_state_dict(saved)
        torch.manual_seed(self.step)
        if "random" in state:
            set_random_state(state["random"])

    @torch.no_grad()
    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Brings drawn pairs to the device, with the latents (B, C, h, w) of their pictures instead of these."""
        batch = {name: tensor.to(self.args.device, non_blocking=True) for name, tensor in batch.items()}
        pictures = torch.cat([batch.pop("source"), batch.pop("target")]).float() / 127.5 - 1
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.bf16):
            latents = self.networks.encode(self.vae, pictures)
        source, target = latents.chunk(2)
        return {"source": source, "target": target, **batch}

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Yields encoded batches without an end."""
        drawn = data.batches(self.preset, self.networks.read, self.args.batch, self.args.workers, self.drawn)

        def fresh() -> Iterator[dict[str, Tensor]]:
            for batch in drawn:
                self.drawn += self.args.batch
                yield self.encode(batch)

        return shown(fresh(), self.args.times)

    def _learn(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes one optimizer step, without a wait for the device; returns what the log shows."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.bf16):
            error, ground, share = self.networks.losses(batch, self.args.inside)
        (error + self.args.grounding * ground).backward()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return {"loss": error.detach(), "grounding": ground.detach(), "inside": share}

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Learns from a batch at the rate of the moment; returns what the log shows."""
        set_rate(self.optimizers, self.args.rate * rate_at(self.budget.progress(self.step), self.step))
        means = self.learn(batch)
        self.step += 1
        self.average.update(self.step)
        return means


def random_state(device: str) -> dict[str, Tensor]:
    """Returns where the generators of the training are."""
    return {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if device == "cuda" else {})


def set_random_state(state: dict[str, Tensor]) -> None:
    """Brings the generators back to `state`, as far as it has theirs."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    trainer.resume()
    log = Log(args.run / "log.jsonl", args.log_every)
    saved = time.monotonic()
    source = trainer.batches()
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    while trainer.budget.progress(trainer.step) < 1 and not signals:
        means = trainer.train_step(next(source))
        facts = {"drawn": trainer.drawn, "samples": trainer.step * args.batch, "seconds": trainer.budget.seconds}
        log.add(trainer.step, facts, **means)
        if time.monotonic() - saved > 60 * args.save_every:
            trainer.save()
            saved = time.monotonic()
    trainer.save()


if __name__ == "__main__":
    main()
