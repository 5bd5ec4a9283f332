"""Trains the autoencoder on drawn scenes. Its latents are brought to zero mean and unit variance, so that no scale is needed.

InstructPix2Pix does not scale the latents of the picture it is given; at unit variance, both of its inputs agree.

Then its decoder is trained further on pairs, so that an edit of some latents changes the picture there and not elsewhere: group norms
carry every change to the whole picture, unless a decoder has learned to hold against that. `train.py` does both; alone,

    python train_vae.py runs/demo/vae --steps 1500          # the second part, for an autoencoder that is there
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

import seeds
from data import draw, pixels
from models import PRESETS, Preset, new_vae
from muon import optimizers, set_rate
from training import Budget, Log, rate_at

BATCH = 16
RATE = 4e-3
KL_WEIGHT = 2e-4
LOCAL_RATE = 2e-3
# Of what changes outside an edit.
SPREAD_WEIGHT = 3.0
# Parts of the names of weights that are not Muon's: the outermost layers.
OUTER = ("conv_in.", "conv_out.", "quant_conv.")
# Pixels around an edit that may change with it.
BORDER = 2
# Pictures that the mean and the variance of the latents are measured on.
MEASURED = 96


class Sources(torch.utils.data.Dataset):
    """Source pictures of the held-out seeds' far side, so that the autoencoder never sees a held-out pair."""

    def __init__(self, preset: Preset, count: int):
        self.preset, self.count = preset, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return pixels(draw(self.preset, seeds.HELD_OUT - 1 - index).source)


class Edits(torch.utils.data.Dataset):
    """Pairs of the same side of the seeds: source, target, and every pixel that the edit needs."""

    def __init__(self, preset: Preset, count: int):
        self.preset, self.count = preset, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        pair = draw(self.preset, seeds.HELD_OUT - 1 - index)
        return pixels(pair.source), pixels(pair.target), torch.from_numpy(pair.edit_mask)[None].float()


def scaled(pictures: Tensor, device: str) -> Tensor:
    """Returns pictures (B, 3, h, w) uint8 in -1..1, as the networks see them."""
    pictures = pictures.to(device).float() / 127.5 - 1
    return pictures.contiguous(memory_format=torch.channels_last)


def distance(decoded: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (L1, L2 and L1 of the gradients, mean absolute error)."""
    error = decoded.float() - pictures
    absolute = error.abs().mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return absolute + 2 * error.square().mean() + 0.5 * edges, absolute.detach()


def loss(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the distance with a light KL, and what the log shows."""
    posterior = vae.encode(pictures).latent_dist
    away, absolute = distance(vae.decode(posterior.sample()).sample, pictures)
    mean, log_variance = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return away + KL_WEIGHT * kl, {"l1": absolute}


def local_loss(vae: AutoencoderKL, source: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the distance with what an edit changes outside of its `mask` (B, 1, h, w), and what the log shows.

    The edit's latents are the target's everywhere, and those of the source with the target's in the mask.
    """
    with torch.no_grad():
        before, after = (vae.encode(pictures).latent_dist for pictures in (source, target))
        noise = before.std * torch.randn_like(before.std)
        before, after = before.mode() + noise, after.mode() + noise
        cells = F.adaptive_max_pool2d(mask, before.shape[-1])
        mixed = torch.lerp(before, after, cells)
    decoded = vae.decode(torch.cat([before, after, mixed])).sample
    away, absolute = distance(decoded, torch.cat([source, target, target]))
    kept, edited, patched = decoded.float().chunk(3)
    outside = 1 - F.max_pool2d(mask, 2 * BORDER + 1, 1, BORDER)
    spread = [((it - kept).abs() * outside).sum() / outside.sum() / 3 for it in (edited, patched)]
    return away + SPREAD_WEIGHT * sum(spread), {"l1": absolute, "spread": spread[1].detach()}


@torch.no_grad()
def normalize(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Folds the latents' mean and deviation into the 1x1 convolutions on both of their sides."""
    latents = vae.encode(pictures).latent_dist.mean
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= deviation.view(1, -1, 1, 1)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Returns the mean PSNR of the reconstruction in dB."""
    restored = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    error = ((restored - pictures) / 2).square().mean((1, 2, 3))
    return float(-10 * error.log10().mean())


def learn(params: list, rate: float, batches, step_loss: Callable, log: Log, steps: int) -> None:
    """Makes a step for each batch, by AdamW and Muon."""
    chosen = optimizers(params, rate, OUTER)
    budget = Budget(steps, None)
    for step, batch in enumerate(batches, 1):
        for optimizer in chosen:
            optimizer.zero_grad(set_to_none=True)
        set_rate(chosen, rate * rate_at(budget.progress(step), step))
        total, shown = step_loss(batch)
        total.backward()
        torch.nn.utils.clip_grad_norm_([param for _, param in params], 1.0)
        for optimizer in chosen:
            optimizer.step()
        log.add(step, {"seconds": budget.seconds}, loss=total.detach(), **shown)


def keep_local(
    vae: AutoencoderKL, preset: Preset, device: str, steps: int, workers: int, bf16: bool, log: Log
) -> None:
    """Trains the decoder further for `steps` steps. Its latents stay what they are."""
    vae.requires_grad_(False)
    params = [(name, param) for name, param in vae.named_parameters() if name.startswith(("decoder.", "post_quant_conv."))]
    for _, param in params:
        param.requires_grad_(True)

    def step_loss(batch: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        source, target, mask = batch
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return local_loss(vae, scaled(source, device), scaled(target, device), mask.to(device))

    edits = torch.utils.data.DataLoader(Edits(preset, steps * BATCH), BATCH, num_workers=workers)
    learn(params, LOCAL_RATE, edits, step_loss, log, steps)


def train(folder: Path, preset: Preset, device: str, steps: int, workers: int, bf16: bool) -> None:
    """Trains for `steps` steps, half of them the second part, and saves to `folder`, with the log beside it. A short run: it does not resume."""
    torch.manual_seed(0)
    vae = new_vae(preset).to(device, memory_format=torch.channels_last)
    log = Log(folder.with_name("vae_log.jsonl"), 25)
    first = steps - steps // 2

    def step_loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return loss(vae, scaled(batch, device))

    pictures = torch.utils.data.DataLoader(Sources(preset, first * BATCH), BATCH, num_workers=workers)
    learn(list(vae.named_parameters()), RATE, pictures, step_loss, log, first)
    unseen = torch.stack([pixels(draw(preset, seeds.HELD_OUT + index).source) for index in range(MEASURED)])
    unseen = scaled(unseen, device)
    normalize(vae, unseen)
    keep_local(vae, preset, device, steps // 2, workers, bf16, log)
    vae.eval()
    log.add(0, {"psnr": psnr(vae, unseen)})
    vae.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vae", type=Path, help="folder of the autoencoder, which is overwritten")
    parser.add_argument("--preset", choices=PRESETS, default="shapes", help="what the autoencoder is for")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.vae, dtype=torch.float32, low_cpu_mem_usage=False).to(args.device, memory_format=torch.channels_last)
    log = Log(args.vae.with_name("vae_local_log.jsonl"), 25)
    keep_local(vae, PRESETS[args.preset], args.device, args.steps, args.workers, args.bf16, log)
    vae.eval().save_pretrained(args.vae)


if __name__ == "__main__":
    main()
