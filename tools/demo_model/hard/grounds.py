"""Grounds of the hard scenes: plain ones, textures and photographs; the held-out scenes have their own."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

import photographs

PLAIN = ("plain", "gradient")
TEXTURES = {False: ("stripes", "checks", "clouds", "weave"), True: ("dots", "planks", "bricks", "ripples")}
# Nouns that one might see in a texture.
SHOWS = {"dots": ("circle",), "bricks": ("square",), "checks": ("square",)}


def _muted(rng: np.random.Generator) -> np.ndarray:
    color = rng.uniform(70, 240, 3)
    return color.mean() + 0.6 * (color - color.mean())


def _two(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = _muted(rng)
    return first, (first + 0.4 * (_muted(rng) - first) + rng.choice((-1, 1)) * rng.uniform(12, 30)).clip(20, 245)


def _clouds(rng: np.random.Generator, width: int, height: int, cells: int) -> np.ndarray:
    noise = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32), "F")
    return np.asarray(noise.resize((width, height), Image.BICUBIC))


def _pattern(kind: str, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the share of the second color at (x, y), in units of the shorter side."""
    period, turn = rng.uniform(0.10, 0.24), rng.uniform(0, math.pi)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)

    def wave(value: np.ndarray, sharp: float) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(sharp * np.sin(2 * math.pi * value / period))

    match kind:
        case "stripes":
            return wave(u, 4)
        case "checks":
            return 0.5 + 0.5 * np.tanh(4 * np.sin(2 * math.pi * u / period) * np.sin(2 * math.pi * v / period))
        case "weave":
            return 0.5 * wave(u, 2) + 0.5 * wave(v, 2)
        case "dots":
            near = np.hypot((u / period) % 1 - 0.5, (v / period) % 1 - 0.5)
            return (1 - (near - 0.22) * 12).clip(0, 1)
        case "planks":
            row = np.floor(y / period)
            grain = np.sin(14 * x + 9 * np.sin(2.3 * row) + 2.5 * np.sin(40 * y + 3 * x))
            return 0.35 + 0.3 * grain + 0.8 * ((y / period) % 1 < 0.07) + 0.15 * np.sin(7.7 * row)
        case "bricks":
            row = np.floor(y / period)
            column = (x / (2.2 * period) + 0.5 * (row % 2)) % 1
            return np.maximum((y / period) % 1 < 0.16, column < 0.08) + 0.18 * np.sin(
                11 * row + 5 * np.floor(x / (2.2 * period) + 0.5 * (row % 2))
            )
    middle = rng.uniform(-0.3, 1.3, 2)  # ripples
    return 0.5 + 0.5 * np.sin(2 * math.pi * np.hypot(x - middle[0], y - middle[1]) / (0.7 * period) + 2 * np.sin(3 * x))


def _drawn(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Returns a drawn ground of `kind`, (h, w, 3) float32 levels. `size` is (width, height)."""
    width, height = size[0] * 2, size[1] * 2
    y, x = np.mgrid[:height, :width] / min(width, height)
    one, other = _two(rng)
    if kind == "plain":
        share = np.zeros_like(x)
    elif kind == "gradient":
        turn = rng.uniform(0, 2 * math.pi)
        share = x * math.cos(turn) + y * math.sin(turn)
        share = (share - share.min()) / np.ptp(share)
        other = _muted(rng)
    elif kind == "clouds":
        share = 0.5 + 0.35 * _clouds(rng, width, height, 5) + 0.12 * _clouds(rng, width, height, 17)
    else:
        share = _pattern(kind, rng, x, y)
    picture = one + share.clip(-0.3, 1.3)[..., None] * (other - one)
    if kind not in PLAIN:
        picture = picture + rng.normal(0, rng.uniform(2, 7), (height, width, 1))
    blocks = picture.reshape(height // 2, 2, width // 2, 2, 3)
    return blocks.mean((1, 3)).clip(0, 255).astype(np.float32)


def _crop(photograph: photographs.Photograph, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Returns a part of a photograph as a ground, at times mirrored, (h, w, 3) float32 levels."""
    picture = photographs.opened(photograph)
    scale = min(picture.width / size[0], picture.height / size[1]) * rng.uniform(0.35, 1.0)
    w, h = size[0] * scale, size[1] * scale
    left, top = rng.uniform(0, picture.width - w), rng.uniform(0, picture.height - h)
    part = picture.resize(size, Image.LANCZOS, (left, top, left + w, top + h))
    ground = np.asarray(part, np.float32)
    return np.ascontiguousarray(ground[:, ::-1] if rng.random() < 0.5 else ground)


@dataclass(frozen=True)
class Ground:
    """What a scene is drawn on."""

    kind: str
    """plain, texture or photograph."""
    name: str
    seed: int
    shows: tuple[str, ...] = ()
    """Nouns that one might see in it: no thing of that kind is drawn over it."""

    def paint(self, size: tuple[int, int]) -> np.ndarray:
        """Returns it as (h, w, 3) float32 levels. `size` is (width, height)."""
        rng = np.random.default_rng(self.seed)
        if self.kind != "photograph":
            return _drawn(self.name, rng, size)
        return _crop(next(it for it in photographs.ALL if it.name == self.name), rng, size)


def sample(rng: random.Random, kind: str, held_out: bool) -> Ground:
    """Draws a ground of `kind`."""
    seed = rng.getrandbits(32)
    if kind == "photograph":
        photograph = rng.choice([it for it in photographs.ALL if it.held_out == held_out])
        return Ground(kind, photograph.name, seed, photograph.shows)
    name = rng.choice(TEXTURES[held_out] if kind == "texture" else PLAIN)
    return Ground(kind, name, seed, SHOWS.get(name, ()))
