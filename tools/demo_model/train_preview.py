"""Trains a snapshot's preview decoder: a tiny network (diffusers' `AutoencoderTiny`) that shows what the autoencoder's decoder would.

    python train_preview.py ../../assets/demo-model --steps 3000      # minutes on two cores; writes preview_decoder/ there
    python train_preview.py ../../assets/demo-model --measure         # figures of what is there

It learns from the decoder itself, on latents of drawn scenes as they are between two steps: clean, blurred, half one scene and half
its edit, and noisy. Only its decoder is saved, in half precision, since nothing encodes with it.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

import seeds
from data import draw, pixels
from models import LATENT_CHANNELS, PRESETS
from training import Log
from train_vae import Edits, scaled, distance, learn

BATCH = 8
RATE = 4e-3
CHANNELS = 24
# Residual blocks at the latent's size, and at twice that.
BLOCKS = (2, 1)
# Pictures that figures are measured on.
MEASURED = 96


def new_decoder() -> AutoencoderTiny:
    """Returns an untrained one, with an encoder as small as may be, which is not trained and not saved."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        decoder_block_out_channels=(CHANNELS,) * len(BLOCKS),
        num_decoder_blocks=BLOCKS,
    )


@torch.no_grad()
def latents_between(vae: AutoencoderKL, source: Tensor, target: Tensor) -> Tensor:
    """Returns latents as previews are made of: of each pair the target's, and one that is not yet there."""
    before, after = (vae.encode(pictures).latent_dist.mode() for pictures in (source, target))
    count = len(before)
    share = torch.rand(count, 1, 1, 1)
    mixed = torch.lerp(before, after, share)
    blurred = F.interpolate(F.avg_pool2d(mixed, 2), scale_factor=2, mode="bilinear")
    strength = torch.rand(count, 1, 1, 1)
    mixed = torch.lerp(mixed, blurred, strength) + 0.2 * torch.rand(count, 1, 1, 1) * torch.randn_like(mixed)
    return torch.cat([after, mixed])


def train(folder: Path, steps: int, workers: int) -> None:
    """Trains for `steps` steps and saves to `preview_decoder` in the snapshot."""
    torch.manual_seed(0)
    vae = load_vae(folder)
    tiny = new_decoder().to(memory_format=torch.channels_last)
    params = [(name, param) for name, param in tiny.named_parameters() if name.startswith("decoder.")]

    def step_loss(batch: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        source, target, _ = batch
        latents = latents_between(vae, scaled(source, "cpu"), scaled(target, "cpu"))
        with torch.no_grad():
            shown = vae.decode(latents).sample
        away, absolute = distance(tiny.decode(latents).sample, shown)
        return away, {"l1": absolute}

    edits = torch.utils.data.DataLoader(Edits(PRESETS["shapes"], steps * BATCH), BATCH, num_workers=workers)
    learn(params, RATE, edits, step_loss, Log(Path("preview_log.jsonl"), 50), steps)
    out = folder / "preview_decoder"
    out.mkdir(exist_ok=True)
    tensors = {name: param.detach().half().contiguous() for name, param in params}
    save_file(tensors, out / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    config = {key: it for key, it in dict(tiny.config).items() if not key.startswith("_") and "encoder" not in key or "decoder" in key}
    (out / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny", **config}, indent=2) + "\n")


def load_vae(folder: Path) -> AutoencoderKL:
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32, low_cpu_mem_usage=False)
    return vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def load_decoder(folder: Path) -> AutoencoderTiny:
    tiny = new_decoder()
    missing, unexpected = tiny.load_state_dict(load_file(folder / "preview_decoder" / "diffusion_pytorch_model.safetensors"), strict=False)
    assert not unexpected and all(name.startswith("encoder.") for name in missing), (missing, unexpected)
    return tiny.float().eval()


def linear(picture: Tensor, latents: Tensor, shown: Tensor) -> Tensor:
    """Returns latents (1, C, h, w) in color by the linear map that fits another picture and its latents best, at the picture's size."""
    side = latents.shape[-1]
    rows = lambda it: torch.cat([it[0].flatten(1).T, torch.ones(side * side, 1)], 1).double()
    colors = F.interpolate(picture, size=(side, side), mode="area")[0].flatten(1).T.double()
    fitted = rows(latents)
    gram = fitted.T @ fitted + 1e-4 * side * side * torch.eye(fitted.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(gram, fitted.T @ colors)
    small = (rows(shown) @ weights).float().T.view(1, 3, side, side)
    return F.interpolate(small, size=picture.shape[-2:], mode="bilinear")


def psnr(found: Tensor, wanted: Tensor) -> float:
    error = ((found.clamp(-1, 1) - wanted.clamp(-1, 1)) / 2).square().mean((1, 2, 3))
    return float(-10 * error.log10().mean())


@torch.no_grad()
def measure(folder: Path) -> None:
    """Prints each way's PSNR over held-out edits: with what the autoencoder shows of the same latents, and with the edit itself."""
    vae, tiny = load_vae(folder), load_decoder(folder)
    drawn = [draw(PRESETS["shapes"], seeds.HELD_OUT_SETS + index) for index in range(MEASURED)]
    source, target = (scaled(torch.stack([pixels(getattr(it, which)) for it in drawn]), "cpu") for which in ("source", "target"))
    before, after = (vae.encode(it).latent_dist.mode() for it in (source, target))
    torch.manual_seed(0)
    half_way = latents_between(vae, source, target)[len(source) :]
    for name, latents in (("clean", after), ("half-way", half_way)):
        by_vae = vae.decode(latents).sample
        one = lambda it: it[None]
        by_line = torch.cat([linear(one(p), one(z), one(s)) for p, z, s in zip(source, before, latents)])
        ways = {"linear": by_line, "tiny": tiny.decode(latents).sample, "vae": by_vae}
        for way, shown in ways.items():
            of_edit = f", {psnr(shown, target):.2f} dB with the edit" if name == "clean" else ""
            of_vae = f"{psnr(shown, by_vae):.2f} dB with the autoencoder" if way != "vae" else "the autoencoder"
            print(f"{name}: {way}: {of_vae}{of_edit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    parser.add_argument("--measure", action="store_true", help="print figures instead")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.measure:
        train(args.snapshot, args.steps, args.workers)
    measure(args.snapshot)


if __name__ == "__main__":
    main()
