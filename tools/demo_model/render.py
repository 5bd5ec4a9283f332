"""Drawing of a scene, and which pixels each thing shows."""

import numpy as np

import backgrounds
from scenes import Scene, Thing
from shapes import ANGLE_STEP, stamp

# A picture is drawn at this many times its side and averaged down.
OVERSAMPLING = 2


def shrink(layer: np.ndarray, factor: int) -> np.ndarray:
    """Averages blocks of `factor` x `factor` of an (H, W, ...) array."""
    # Sums of slices: an order of magnitude faster than a mean over the axes of a reshaped view.
    rows = sum(layer[row::factor] for row in range(factor))
    return sum(rows[:, column::factor] for column in range(factor)) / np.float32(factor**2)


def _layer(thing: Thing, pixels: int) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Returns where the thing lies in a picture of side `pixels`, its coverage there and its color there."""
    diameter = round(2 * thing.radius * pixels)
    angle = ANGLE_STEP * round(thing.degrees / ANGLE_STEP)
    coverage, shading = stamp(thing.noun, diameter, angle)
    top, left = (round(center * pixels - diameter / 2) for center in (thing.y, thing.x))
    y0, x0, y1, x1 = max(0, top), max(0, left), min(pixels, top + diameter), min(pixels, left + diameter)
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return (slice(y0, y1), slice(x0, x1)), coverage[part], shading[part][..., None] * np.float32(thing.rgb)


def draw(scene: Scene, size: int) -> np.ndarray:
    """Returns the picture of `scene`, (size, size, 3) uint8."""
    pixels = size * OVERSAMPLING
    picture = backgrounds.paint(scene.background, scene.background_seed, pixels).copy()
    for thing in scene.things:
        where, coverage, color = _layer(thing, pixels)
        picture[where] += coverage[..., None] * (color - picture[where])
    return shrink(picture, OVERSAMPLING).round().clip(0, 255).astype(np.uint8)


def visible(scene: Scene, index: int, size: int) -> np.ndarray:
    """Returns how much of each pixel shows `scene.things[index]`, (size, size) in 0..1; things in front hide it."""
    pixels = size * OVERSAMPLING
    shown = np.zeros((pixels, pixels), np.float32)
    where, coverage, _ = _layer(scene.things[index], pixels)
    shown[where] = coverage
    for thing in scene.things[index + 1 :]:
        where, coverage, _ = _layer(thing, pixels)
        shown[where] *= 1 - coverage
    return shrink(shown, OVERSAMPLING)
