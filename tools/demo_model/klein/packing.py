"""Latents as FLUX.2 sees them: cells of two by two, normalized, as tokens.

A token's coordinates are (time, row, column, place in the prompt).
"""

import torch
from diffusers import AutoencoderKLFlux2
from torch import Tensor

# The time of the picture that is edited; the latents and the prompt are at 0 (diffusers: `_prepare_image_ids`).
REFERENCE_TIME = 10


def patched(latents: Tensor) -> Tensor:
    """Returns latents (B, C, h, w) as (B, 4 C, h / 2, w / 2), by channel, then row and column in the cell."""
    return torch.nn.functional.pixel_unshuffle(latents, 2)


def normalized(vae: AutoencoderKLFlux2, latents: Tensor) -> Tensor:
    """Returns patched latents (B, C, h, w) with the mean and the variance that the autoencoder's statistics take away."""
    norm = vae.bn
    return torch.nn.functional.batch_norm(latents, norm.running_mean, norm.running_var, eps=norm.eps)


def packed(cells: Tensor) -> Tensor:
    """Returns cells (B, C, h, w) as tokens (B, h w, C)."""
    return cells.flatten(2).mT


def unpacked(tokens: Tensor, height: int) -> Tensor:
    """Returns tokens (B, h w, C) as cells (B, C, h, w)."""
    return tokens.mT.unflatten(2, (height, -1))


def text_ids(length: int, device: torch.device) -> Tensor:
    """Returns the coordinates of a prompt's tokens, (length, 4)."""
    ids = torch.zeros(length, 4, device=device)
    ids[:, 3] = torch.arange(length, device=device)
    return ids


def cell_ids(height: int, width: int, time: int, device: torch.device) -> Tensor:
    """Returns the coordinates of a picture's cells, (height width, 4)."""
    ids = torch.zeros(height, width, 4, device=device)
    ids[..., 0] = time
    ids[..., 1] = torch.arange(height, device=device)[:, None]
    ids[..., 2] = torch.arange(width, device=device)
    return ids.flatten(0, 1)
