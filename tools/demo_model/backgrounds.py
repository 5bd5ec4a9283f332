"""Backgrounds from plain to cluttered, in muted colors that no object has."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

# Kinds and how often each is drawn.
KINDS = {"plain": 0.22, "gradient": 0.20, "textured": 0.20, "cluttered": 0.38}


def _muted(rng: np.random.Generator) -> np.ndarray:
    color = rng.uniform(90, 235, 3).astype(np.float32)
    return color.mean() + 0.55 * (color - color.mean())


def _gradient(rng: np.random.Generator, pixels: int) -> np.ndarray:
    ramp = np.linspace(0, 1, pixels, dtype=np.float32)
    ramp = ramp[:, None, None] if rng.random() < 0.5 else ramp[None, :, None]
    return np.broadcast_to(_muted(rng) * (1 - ramp) + _muted(rng) * ramp, (pixels, pixels, 3))


def _texture(rng: np.random.Generator, pixels: int) -> np.ndarray:
    """Returns soft clouds and fine grain to add, (pixels, pixels, 1) levels."""
    clouds = Image.fromarray(rng.standard_normal((8, 8)).astype(np.float32), mode="F")
    clouds = np.asarray(clouds.resize((pixels, pixels), Image.BICUBIC))
    grain = rng.standard_normal((pixels, pixels), dtype=np.float32)
    return (clouds * np.float32(rng.uniform(4, 12)) + grain * np.float32(rng.uniform(2, 7)))[..., None]


def _clutter(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Lays muted patches, bars and lines over `base`, each a step away from the base's color."""
    pixels = len(base)
    picture = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    mean = base.mean((0, 1))
    for _ in range(rng.integers(7, 15)):
        color = tuple(int(level) for level in (mean + 0.45 * (_muted(rng) - mean)).clip(0, 255))
        x, y = rng.uniform(-0.1, 1.1, 2) * pixels
        w, h = rng.uniform(0.08, 0.40, 2) * pixels
        match rng.integers(4):
            case 0:
                pen.ellipse([x - w / 2, y - h / 2, x + w / 2, y + h / 2], fill=color)
            case 1:
                pen.rectangle([x - w / 2, y - h / 2, x + w / 2, y + h / 2], fill=color)
            case 2:
                x2, y2 = rng.uniform(-0.1, 1.1, 2) * pixels
                pen.line([x, y, x2, y2], fill=color, width=int(rng.uniform(0.02, 0.06) * pixels))
            case _:
                corners = np.stack([x + rng.uniform(-w, w, 3), y + rng.uniform(-h, h, 3)], 1)
                pen.polygon([tuple(corner) for corner in corners], fill=color)
    return np.asarray(picture, np.float32)


@lru_cache(maxsize=4)  # the source and the target share one
def paint(kind: str, seed: int, pixels: int) -> np.ndarray:
    """Returns a background of `kind`, (pixels, pixels, 3) float32 levels 0-255, the same for the same arguments: not to be written to."""
    rng = np.random.default_rng(seed)
    if kind == "plain":
        picture = np.broadcast_to(_muted(rng), (pixels, pixels, 3))
    else:
        picture = _gradient(rng, pixels)
    if kind == "textured":
        picture = picture + _texture(rng, pixels)
    if kind == "cluttered":
        picture = _clutter(rng, picture)
    return picture.clip(0, 255)
