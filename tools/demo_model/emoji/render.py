"""Drawing of emoji over a ground, and which pixels each one shows."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from emoji.artwork import icon
from emoji.vocabulary import COLORS
from render import shrink

# A picture is drawn at this many times its side and averaged down.
OVERSAMPLING = 2
# Angles are rounded to this many degrees, so that stamps can be cached.
ANGLE_STEP = 3
# Colors fainter than this saturation stay what they are.
LEAST_SATURATION = 0.22


@dataclass(frozen=True)
class Sticker:
    """An emoji. Lengths are in units of the picture's side; (x, y) is the middle, y grows downward."""

    noun: str
    color: str
    """Empty where it has the colors of its artwork."""
    style: str
    radius: float
    """Half of its longer side."""
    x: float
    y: float
    degrees: float
    mirrored: bool


@lru_cache(maxsize=512)
def _tinted(style: str, noun: str, color: str) -> Image.Image:
    """Returns an icon with its saturated parts in the named color, lighter and darker as they were."""
    picture = icon(style, noun)
    if not color:
        return picture
    hue, saturation, lightness = COLORS[color]
    levels = np.asarray(picture.convert("RGB").convert("HSV"), np.float32) / 255
    strong = levels[..., 1] > LEAST_SATURATION
    middle = np.median(levels[..., 2][strong]) if strong.any() else 1.0
    value = (lightness * levels[..., 2] / max(middle, 0.2)).clip(0, 1)
    new = np.stack([np.full_like(value, hue / 360), np.full_like(value, saturation), value], -1)
    mixed = np.where(strong[..., None], new, levels)
    tinted = Image.fromarray((mixed * 255).round().astype(np.uint8), "HSV").convert("RGB")
    tinted.putalpha(picture.getchannel("A"))
    return tinted


@lru_cache(maxsize=4096)
def _stamp(
    style: str, noun: str, color: str, longer: int, degrees: int, mirrored: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns coverage (h, w) in 0..1 and color (h, w, 3) of an icon whose longer side has `longer` pixels."""
    picture = _tinted(style, noun, color)
    scale = longer / max(picture.size)
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.LANCZOS, reducing_gap=2.0)
    if mirrored:
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    picture = picture.rotate(degrees, Image.BICUBIC, expand=True)
    levels = np.asarray(picture, np.float32)
    return levels[..., 3] / 255, levels[..., :3]


def _layer(sticker: Sticker, pixels: int) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Returns where a sticker lies in a picture of side `pixels`, its coverage there and its color there."""
    angle = ANGLE_STEP * round(sticker.degrees / ANGLE_STEP)
    longer = round(2 * sticker.radius * pixels)
    coverage, color = _stamp(sticker.style, sticker.noun, sticker.color, longer, angle, sticker.mirrored)
    height, width = coverage.shape
    top, left = round(sticker.y * pixels - height / 2), round(sticker.x * pixels - width / 2)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(pixels, top + height), min(pixels, left + width)
    part = (slice(y0 - top, max(y0, y1) - top), slice(x0 - left, max(x0, x1) - left))
    return (slice(y0, max(y0, y1)), slice(x0, max(x0, x1))), coverage[part], color[part]


def draw(ground: np.ndarray, stickers: tuple[Sticker, ...]) -> np.ndarray:
    """Returns the picture of `stickers`, from back to front, over `ground` (h, w, 3): (h, w, 3) uint8."""
    picture = ground.repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1)
    for sticker in stickers:
        where, coverage, color = _layer(sticker, len(picture))
        picture[where] += coverage[..., None] * (color - picture[where])
    return shrink(picture, OVERSAMPLING).round().clip(0, 255).astype(np.uint8)


def contrast(ground: np.ndarray, sticker: Sticker) -> float:
    """Returns how far a sticker's colors are from the ground behind it, in levels: the mean distance over its pixels."""
    behind = ground.repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1)
    where, coverage, color = _layer(sticker, len(behind))
    away = np.linalg.norm(color - behind[where], axis=-1)
    return float((away * coverage).sum() / max(coverage.sum(), 1.0))


def visible(stickers: tuple[Sticker, ...], index: int, size: int) -> np.ndarray:
    """Returns how much of each pixel shows `stickers[index]`, (size, size) in 0..1; those in front hide it."""
    pixels = size * OVERSAMPLING
    shown = np.zeros((pixels, pixels), np.float32)
    where, coverage, _ = _layer(stickers[index], pixels)
    shown[where] = coverage
    for sticker in stickers[index + 1 :]:
        where, coverage, _ = _layer(sticker, pixels)
        shown[where] *= 1 - coverage
    return shrink(shown, OVERSAMPLING)
