"""Trains the autoencoder on drawn scenes. Its latents are brought to zero mean and unit variance, so that no scale is needed.

InstructPix2Pix does not scale the latents of the picture it is given; at unit variance, both of its inputs agree.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from data import HELD_OUT_SEEDS, pixels
from models import SHAPES, new_vae
from muon import optimizers, set_rate
from pairs import make_pair
from training import Budget, Log, rate_at

BATCH = 16
RATE = 4e-3
KL_WEIGHT = 2e-4
# Pictures that the mean and the variance of the latents are measured on.
MEASURED = 96


class Sources(torch.utils.data.Dataset):
    """Source pictures of the held-out seeds' far side, so that the autoencoder never sees a held-out pair."""

    def __init__(self, size: int, count: int):
        self.size, self.count = size, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return pixels(make_pair(HELD_OUT_SEEDS - 1 - index, self.size).source)


def _scaled(pictures: Tensor, device: str) -> Tensor:
    pictures = pictures.to(device).float() / 127.5 - 1
    return pictures.contiguous(memory_format=torch.channels_last)


def loss(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (loss, mean absolute error): L1, L2, L1 of the gradients, and a light KL."""
    posterior = vae.encode(pictures).latent_dist
    error = vae.decode(posterior.sample()).sample.float() - pictures
    absolute = error.abs().mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    mean, log_variance = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return absolute + 2 * error.square().mean() + 0.5 * edges + KL_WEIGHT * kl, absolute.detach()


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


def train(folder: Path, size: int, device: str, steps: int, workers: int, bf16: bool) -> None:
    """Trains for `steps` steps and saves to `folder`, with the log beside it. A short run: it does not resume."""
    torch.manual_seed(0)
    vae = new_vae(SHAPES[size]).to(device, memory_format=torch.channels_last)
    chosen = optimizers(list(vae.named_parameters()), RATE)
    log = Log(folder.with_name("vae_log.jsonl"), 25)
    budget = Budget(steps, None)
    pictures = torch.utils.data.DataLoader(Sources(size, steps * BATCH), BATCH, num_workers=workers)
    for step, batch in enumerate(pictures, 1):
        for optimizer in chosen:
            optimizer.zero_grad(set_to_none=True)
        set_rate(chosen, RATE * rate_at(budget.progress(step), step))
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            total, absolute = loss(vae, _scaled(batch, device))
        total.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in chosen:
            optimizer.step()
        log.add(step, {"seconds": budget.seconds}, loss=total.detach(), l1=absolute)
    vae.eval()
    unseen = torch.stack([pixels(make_pair(HELD_OUT_SEEDS + index, size).source) for index in range(MEASURED)])
    unseen = _scaled(unseen, device)
    normalize(vae, unseen)
    log.add(0, {"psnr": psnr(vae, unseen)})
    vae.save_pretrained(folder)
