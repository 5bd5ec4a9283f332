"""Trains a tiny InstructPix2Pix on drawn scenes: tokenizer, autoencoder, then text encoder and U-Net together.

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
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

import data
import grounding
import tokenizer as bpe
import train_vae
from models import PRESETS, new_scheduler, new_text_encoder, new_unet
from muon import optimizers, set_rate
from recorded import Recorded, shown
from training import Average, Budget, Log, rate_at
from worlds import WORLDS

# Share of samples without text, without picture, and without both, each (InstructPix2Pix §3.2.1).
DROPOUT = 0.05
# Share of samples whose timestep is drawn from the noisier half, where places and shapes are settled.
NOISY = 0.25
# A latent cell counts as changed where source and target differ by more than this on average.
CHANGED = 0.25


def arguments() -> argparse.Namespace:
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
    parser.add_argument("--origin", default="", help="with --init: what the snapshot was trained on, for the model card")
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--times", type=int, default=1, help="how often each pair is shown, if a GPU learns faster than they are drawn")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    parser.add_argument("--save-every", type=float, default=5, help="minutes between checkpoints")
    parser.add_argument("--log-every", type=int, default=25, help="steps between log lines")
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> tuple[CLIPTokenizer, AutoencoderKL]:
    """Builds or loads the run's tokenizer and autoencoder."""
    args.run.mkdir(parents=True, exist_ok=True)
    settings = {"preset", "device", "batch", "times", "rate", "grounding", "inside", "origin"}
    kept = {name: value for name, value in vars(args).items() if name in settings}
    (args.run / "settings.json").write_text(json.dumps(kept))
    vae_folder = args.run / "vae"
    if not vae_folder.exists() and args.init:
        shutil.copytree(args.init / "vae", vae_folder)
    if not vae_folder.exists():
        train_vae.train(vae_folder, PRESETS[args.preset], args.device, args.vae_steps, args.workers, args.bf16)
    folder = args.run / "tokenizer"
    words = WORLDS[PRESETS[args.preset].world].words
    tokenizer = CLIPTokenizer.from_pretrained(folder) if folder.exists() else bpe.build(folder, words)
    vae = AutoencoderKL.from_pretrained(vae_folder, dtype=torch.float32, low_cpu_mem_usage=False)
    return tokenizer, vae.to(args.device).eval().requires_grad_(False)


def start_from(snapshot: Path, unet: torch.nn.Module, text: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Loads a snapshot's weights. Words that both tokenizers have keep their embedding, new ones stay random."""
    unet.load_state_dict(load_file(snapshot / "unet" / "diffusion_pytorch_model.safetensors"))
    weights = load_file(snapshot / "text_encoder" / "model.safetensors")
    weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    old = CLIPTokenizer.from_pretrained(snapshot / "tokenizer").get_vocab()
    table = text.get_input_embeddings().weight.detach().clone()
    learned = weights["embeddings.token_embedding.weight"]
    for token, index in tokenizer.get_vocab().items():
        if token in old:
            table[index] = learned[old[token]]
    weights["embeddings.token_embedding.weight"] = table
    own_prefix = "text_model." if next(iter(text.state_dict())).startswith("text_model.") else ""
    text.load_state_dict({own_prefix + name: value for name, value in weights.items()})


class Trainer:
    """The networks in training and all that a checkpoint holds."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.tokenizer, self.vae = prepare(args)
        self.preset = PRESETS[args.preset]
        self.unet = new_unet(self.preset)
        self.text = new_text_encoder(self.preset, self.tokenizer)
        if args.init:
            start_from(args.init, self.unet, self.text, self.tokenizer)
        # Half-precision convolutions are faster with the channels innermost, those in fp32 on a CPU are not.
        self.layout = torch.channels_last if args.bf16 else torch.contiguous_format
        self.unet.to(args.device, memory_format=self.layout)
        self.text.to(args.device)
        self.maps = grounding.watch(self.unet)
        named = [*self.unet.named_parameters(), *self.text.named_parameters()]
        self.params = [param for _, param in named]
        self.optimizers = optimizers(named, args.rate)
        self.average = Average(self.params)
        self.alphas = new_scheduler().alphas_cumprod.to(args.device)
        self.empty = torch.tensor(self.tokenizer("", padding="max_length")["input_ids"], device=args.device)
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
            "unet": self.unet.state_dict(),
            "text": self.text.state_dict(),
            "average": self.average.values,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def resume(self) -> None:
        """Takes up the run's checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.args.device, weights_only=True)
        self.step, self.drawn, self.budget.spent = state["step"], state["drawn"], state["seconds"]
        self.unet.load_state_dict(state["unet"])
        self.text.load_state_dict(state["text"])
        for value, saved in zip(self.average.values, state["average"]):
            value.copy_(saved)
        # A packed checkpoint has no momentum.
        for optimizer, saved in zip(self.optimizers, state.get("optimizers", [])):
            optimizer.load_state_dict(saved)

    @torch.no_grad()
    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Brings drawn pairs to the device, with the latents (B, 4, h, w) of their pictures instead of these."""
        batch = {name: tensor.to(self.args.device, non_blocking=True) for name, tensor in batch.items()}
        pictures = torch.cat([batch.pop("source"), batch.pop("target")]).float() / 127.5 - 1
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.bf16):
            latents = self.vae.encode(pictures.contiguous(memory_format=self.layout)).latent_dist.mode().float()
        source, target = latents.chunk(2)
        return {"source": source, "target": target, **batch}

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Yields encoded batches without an end."""
        drawn = data.batches(self.preset, self.tokenizer, self.args.batch, self.args.workers, self.drawn)

        def fresh() -> Iterator[dict[str, Tensor]]:
            for batch in drawn:
                self.drawn += self.args.batch
                yield self.encode(batch)

        return shown(fresh(), self.args.times)

    def timesteps(self, count: int) -> Tensor:
        uniform = torch.randint(0, 1000, (count,), device=self.args.device)
        noisy = torch.randint(500, 1000, (count,), device=self.args.device)
        return torch.where(torch.rand(count, device=self.args.device) < NOISY, noisy, uniform)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (weighted loss of v, grounding loss, share of attention inside the object)."""
        count = len(batch["ids"])
        # 1. weigh what changes
        source, target = batch["source"], batch["target"]
        changed = ((target - source).abs().mean(1, keepdim=True) > CHANGED).float()
        weight = 1 + self.args.inside * F.max_pool2d(changed, 3, 1, 1)
        # 2. drop conditions
        draw = torch.rand(count, device=self.args.device)
        no_text = (draw < 2 * DROPOUT)[:, None]
        no_picture = (draw >= DROPOUT) & (draw < 3 * DROPOUT)
        ids = torch.where(no_text, self.empty, batch["ids"])
        picture = source * (~no_picture).float()[:, None, None, None]
        # 3. add noise
        steps = self.timesteps(count)
        alpha = self.alphas[steps].view(-1, 1, 1, 1)
        noise = torch.randn_like(target)
        noisy = alpha.sqrt() * target + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * target
        # 4. predict
        hidden = self.text(input_ids=ids).last_hidden_state
        inputs = torch.cat([noisy, picture], 1).contiguous(memory_format=self.layout)
        predicted = self.unet(inputs, steps, encoder_hidden_states=hidden).sample.float()
        # 5. weigh
        error = ((predicted - velocity).square() * weight).mean()
        ground, share = grounding.loss(self.maps, batch["mask"].float(), batch["tokens"], (draw >= 3 * DROPOUT).float())
        self.maps.clear()
        return error, ground, share

    def _learn(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes one optimizer step, without a wait for the device; returns what the log shows."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.bf16):
            error, ground, share = self.losses(batch)
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


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    trainer.resume()
    torch.manual_seed(trainer.step)
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
