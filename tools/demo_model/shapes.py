"""Icons of the nouns, as coverage and shading of a square stamp."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

# Side of the canvas on which an icon is drawn before it is scaled down, in pixels.
CANVAS = 192
# Angles are rounded to this many degrees, so that stamps can be cached.
ANGLE_STEP = 4


def _star() -> list[tuple[float, float]]:
    radii = [0.5 if point % 2 == 0 else 0.21 for point in range(10)]
    angles = [math.pi * point / 5 for point in range(10)]
    return [(0.5 + r * math.sin(a), 0.53 - r * math.cos(a)) for r, a in zip(radii, angles)]


def _heart() -> list[tuple[float, float]]:
    outline = []
    for step in range(80):
        a = 2 * math.pi * step / 80
        x = 16 * math.sin(a) ** 3
        y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
        outline.append((0.5 + x / 35, 0.47 - y / 35))
    return outline


# Each icon is a list of (tool, geometry in 0..1, brightness): a part with a brightness below 1 is a darker shade of the color.
ICONS = {
    "circle": [("ellipse", [(0.04, 0.04), (0.96, 0.96)], 1.0)],
    "square": [("rectangle", [(0.09, 0.09), (0.91, 0.91)], 1.0)],
    "triangle": [("polygon", [(0.5, 0.04), (0.97, 0.93), (0.03, 0.93)], 1.0)],
    "star": [("polygon", _star(), 1.0)],
    "heart": [("polygon", _heart(), 1.0)],
    "cross": [("rectangle", [(0.34, 0.04), (0.66, 0.96)], 1.0), ("rectangle", [(0.04, 0.34), (0.96, 0.66)], 1.0)],
    "house": [
        ("rectangle", [(0.12, 0.44), (0.88, 0.95)], 1.0),
        ("polygon", [(0.5, 0.03), (0.98, 0.46), (0.02, 0.46)], 0.59),
        ("rectangle", [(0.4, 0.62), (0.6, 0.95)], 0.27),
    ],
    "tree": [("rectangle", [(0.4, 0.6), (0.6, 0.98)], 0.27), ("ellipse", [(0.08, 0.02), (0.92, 0.66)], 1.0)],
}


def _draw(noun: str) -> tuple[Image.Image, Image.Image]:
    coverage = Image.new("L", (CANVAS, CANVAS), 0)
    shading = Image.new("L", (CANVAS, CANVAS), 255)
    for tool, points, brightness in ICONS[noun]:
        scaled = [(x * CANVAS, y * CANVAS) for x, y in points]
        getattr(ImageDraw.Draw(coverage), tool)(scaled, fill=255)
        getattr(ImageDraw.Draw(shading), tool)(scaled, fill=round(255 * brightness))
    return coverage, shading


@lru_cache(maxsize=8192)
def stamp(noun: str, diameter: int, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (coverage, shading) of `noun`, each (diameter, diameter) float32 in 0..1. `diameter` is in pixels."""
    coverage, shading = _draw(noun)
    coverage = coverage.rotate(degrees, Image.BILINEAR)
    shading = shading.rotate(degrees, Image.BILINEAR, fillcolor=255)
    scale = lambda layer: np.asarray(layer.resize((diameter, diameter), Image.BOX), np.float32) / 255
    return scale(coverage), scale(shading)
