"""The second renderer: anti-aliased polygons, flat, outlined by hand or shaded, with shadows, over any ground."""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from hard.outlines import Points, parts
from render import shrink

# A picture is drawn at this many times its size and averaged down.
OVERSAMPLING = 4


@dataclass(frozen=True)
class Thing:
    """One object. Lengths are in units of the picture's shorter side; (x, y) is the middle, y grows downward."""

    noun: str
    color: str
    rgb: tuple[float, float, float]
    radius: float
    x: float
    y: float
    degrees: float
    seed: int
    """What its outline is made of."""


@dataclass(frozen=True)
class Style:
    """How the things of a scene are drawn."""

    kind: str
    """flat, outlined, shaded or sketched."""
    line: float = 0.0
    """Width of the outline, in units of the shorter side."""
    ink: tuple[int, int, int] = (24, 22, 28)
    light: float = 0.0
    """Where light comes from, in degrees."""
    shadow: float = 0.0
    """Opacity of the shadow."""


@dataclass(frozen=True)
class Layer:
    """A thing as drawn at the picture's size: its coverage (h, w), color (h, w, 3) in levels, and shadow (h, w)."""

    coverage: np.ndarray
    color: np.ndarray
    shadow: np.ndarray


def _wobbly(points: Points, rng: random.Random, by: float) -> Points:
    """Returns a line through `points` as a hand draws it: closed, in short steps, off by up to about `by`."""
    steps = []
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
        count = max(1, round(math.hypot(x1 - x0, y1 - y0) / (6 * by)))
        steps += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count)]
    return [(x + rng.gauss(0, by / 2), y + rng.gauss(0, by / 2)) for x, y in steps]


def _placed(points: Points, middle: tuple[float, float], radius: float, degrees: float) -> Points:
    c, s = radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))
    return [(middle[0] + c * u - s * v, middle[1] + s * u + c * v) for u, v in points]


def _shading(coverage: Image.Image, style: Style, middle: tuple[float, float], radius: float) -> np.ndarray:
    """Returns factors (H, W, 1) of a rounded body under a light from the side. Lengths are in pixels."""
    soft = np.asarray(coverage.filter(ImageFilter.GaussianBlur(radius * 0.22)), np.float32) / 255
    rise_y, rise_x = np.gradient(soft)
    a = math.radians(style.light)
    slope = (rise_x * math.cos(a) + rise_y * math.sin(a)) * radius
    rows, columns = np.mgrid[: soft.shape[0], : soft.shape[1]]
    across = ((columns - middle[0]) * math.cos(a) + (rows - middle[1]) * math.sin(a)) / radius
    return (1 - 0.32 * slope - 0.16 * across)[..., None].clip(0.45, 1.5).astype(np.float32)


def _hatched(side: int, rng: random.Random, gap: float) -> np.ndarray:
    """Returns factors (side, side, 1) of strokes of a crayon, `gap` pixels apart."""
    strokes = Image.new("L", (side, side), 205)
    pen, angle = ImageDraw.Draw(strokes), math.radians(rng.uniform(20, 70))
    dx, dy = math.cos(angle), math.sin(angle)
    for step in range(-int(side / gap), int(side / gap)):
        off = step * gap + rng.gauss(0, gap / 5)
        x, y = side / 2 - dy * off, side / 2 + dx * off
        ends = [(x - dx * side, y - dy * side), (x + dx * side, y + dy * side)]
        pen.line(ends, fill=rng.randint(232, 255), width=max(1, round(gap * 0.7)))
    return np.asarray(strokes, np.float32)[..., None] / 240


def _body(thing: Thing, style: Style, unit: float, corner: tuple[int, int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a thing on a square of `side` pixels whose corner lies at `corner`; returns its coverage and its color."""
    rng = random.Random(thing.seed)
    coverage, inked = Image.new("L", (side, side), 0), Image.new("L", (side, side), 0)
    body = Image.new("RGB", (side, side), tuple(round(level) for level in thing.rgb))
    # A small thing is drawn with a finer line and a steadier hand.
    fine = min(1.0, thing.radius / 0.13)
    width, wobble = round(style.line * unit * fine), 0.010 * unit * fine
    middle = (thing.x * unit - corner[0], thing.y * unit - corner[1])
    for part in parts(thing.noun, thing.seed):
        points = _placed(part.points, middle, thing.radius * unit, thing.degrees)
        toned = [
            level * part.tone if part.tone <= 1 else 255 - (255 - level) * (2 - part.tone)
            for level in part.rgb or thing.rgb
        ]
        if style.kind == "sketched":
            points = _wobbly(points, rng, wobble)
        ImageDraw.Draw(coverage).polygon(points, fill=255)
        ImageDraw.Draw(body).polygon(points, fill=tuple(round(min(255, level)) for level in toned))
        if width:
            ImageDraw.Draw(inked).polygon(points, fill=0)
            for _ in range(2 if style.kind == "sketched" else 1):
                line = _wobbly(points, rng, 0.6 * wobble) if style.kind == "sketched" else points
                ImageDraw.Draw(inked).line([*line, *line[:2]], fill=255, width=width, joint="curve")
    color = np.asarray(body, np.float32)
    if style.kind == "shaded":
        color = color * _shading(coverage, style, middle, thing.radius * unit)
    if style.kind == "sketched":
        color = color * _hatched(side, rng, 0.03 * unit)
    ink = np.asarray(inked, np.float32)[..., None] / 255
    color = (color + ink * (np.float32(style.ink) - color)).clip(0, 255)
    return np.maximum(np.asarray(coverage), np.asarray(inked)).astype(np.float32) / 255, color


def _shadow(covered: np.ndarray, style: Style, thing: Thing, unit: float) -> np.ndarray:
    """Returns the opacity of a thing's shadow, away from the light, in pixels of the picture."""
    a, far = math.radians(style.light), 0.16 * thing.radius * unit
    shift = (1, 0, -far * math.cos(a), 0, 1, -far * math.sin(a))
    moved = np.asarray(Image.fromarray(covered).transform(covered.shape[::-1], Image.AFFINE, shift, Image.BILINEAR))
    soft = Image.fromarray((moved * 255).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.012 * unit))
    return np.asarray(soft, np.float32) / 255 * style.shadow


@lru_cache(maxsize=64)
def layer(thing: Thing, style: Style, size: tuple[int, int]) -> Layer:
    """Draws a thing for a picture of `size` (width, height)."""
    short = min(size)
    # A square around the thing, with room for its line and its shadow.
    half = math.ceil((thing.radius * 1.25 + style.line) * short) + 2
    left, top = round(thing.x * short) - half, round(thing.y * short) - half
    corner, side = (left * OVERSAMPLING, top * OVERSAMPLING), 2 * half * OVERSAMPLING
    covered, color = _body(thing, style, short * OVERSAMPLING, corner, side)
    weighed = shrink(covered[..., None] * color, OVERSAMPLING)
    covered = shrink(covered, OVERSAMPLING)
    color = weighed / np.maximum(covered, 1e-4)[..., None]
    shadow = _shadow(covered, style, thing, short) if style.shadow else np.zeros_like(covered)
    return Layer(*(_pasted(each, left, top, size) for each in (covered, color, shadow)))


def _pasted(part: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Returns `part` in an empty layer of a picture of `size`, cut where it leaves the picture."""
    whole = np.zeros((size[1], size[0], *part.shape[2:]), np.float32)
    y, x, height, width = max(0, top), max(0, left), *part.shape[:2]
    cut = part[y - top : max(y, min(size[1], top + height)) - top, x - left : max(x, min(size[0], left + width)) - left]
    whole[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return whole


def draw(ground: np.ndarray, things: tuple[Thing, ...], style: Style) -> np.ndarray:
    """Returns the picture of `things`, from back to front, over `ground` (h, w, 3) float: (h, w, 3) uint8."""
    picture = ground.copy()
    for thing in things:
        drawn = layer(thing, style, ground.shape[1::-1])
        picture *= (1 - drawn.shadow * (1 - drawn.coverage))[..., None]
        picture += drawn.coverage[..., None] * (drawn.color - picture)
    return picture.round().clip(0, 255).astype(np.uint8)


def visible(things: tuple[Thing, ...], index: int, style: Style, size: tuple[int, int]) -> np.ndarray:
    """Returns how much of each pixel shows `things[index]`, (h, w) in 0..1; things in front hide it."""
    shown = layer(things[index], style, size).coverage.copy()
    for thing in things[index + 1 :]:
        shown *= 1 - layer(thing, style, size).coverage
    return shown
