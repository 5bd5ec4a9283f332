"""Outlines of the nouns as polygons in the unit circle, each thing a little different; y grows downward."""

import math
import random
from dataclasses import dataclass

Points = list[tuple[float, float]]
BROWN = (118, 80, 46)


@dataclass(frozen=True)
class Part:
    """A polygon of a thing: the thing's color times `tone`, above 1 toward white; or `rgb` of its own."""

    points: Points
    tone: float = 1.0
    rgb: tuple[int, int, int] | None = None


def _arc(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360, steps: int = 48) -> Points:
    angles = (math.radians(start + (end - start) * step / steps) for step in range(steps + (end - start < 360)))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _softened(points: Points, share: float) -> Points:
    """Cuts each corner twice by `share` of its edges, which rounds it."""
    for cut in (share, 0.25):
        ends = zip(points, points[1:] + points[:1])
        points = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in ends for t in (cut, 1 - cut)]
    return points


def _circle(rng: random.Random) -> list[Part]:
    return [Part(_arc(0, 0, rng.uniform(0.88, 0.96), rng.uniform(0.88, 0.96)))]


def _square(rng: random.Random) -> list[Part]:
    half = rng.uniform(0.72, 0.80)
    box = _box(-half, -half, half, half)
    return [Part(_softened(box, rng.uniform(0.08, 0.22)) if rng.random() < 0.6 else box)]


def _triangle(rng: random.Random) -> list[Part]:
    corners = [(rng.uniform(-0.2, 0.2), -0.95), (0.88, 0.76), (-0.88, 0.76)]
    return [Part(_softened(corners, rng.uniform(0.05, 0.12)) if rng.random() < 0.5 else corners)]


def _star(rng: random.Random) -> list[Part]:
    inner = rng.uniform(0.40, 0.52)
    tips = [((1.0 if tip % 2 == 0 else inner), math.pi * tip / 5) for tip in range(10)]
    corners = [(r * math.sin(a), 0.04 - r * math.cos(a)) for r, a in tips]
    return [Part(_softened(corners, 0.1) if rng.random() < 0.4 else corners)]


def _heart(rng: random.Random) -> list[Part]:
    broad, tip = rng.uniform(0.46, 0.52), rng.uniform(0.82, 0.92)
    left, right = (
        _arc(-broad + 0.02, -0.32, broad, broad, 150, 360, 24),
        _arc(broad - 0.02, -0.32, broad, broad, 180, 390, 24),
    )
    return [Part([*left, *right, (0.0, tip)])]


def _cross(rng: random.Random) -> list[Part]:
    w, r = rng.uniform(0.24, 0.34), 0.94
    corner = [
        (-w, -r),
        (w, -r),
        (w, -w),
        (r, -w),
        (r, w),
        (w, w),
        (w, r),
        (-w, r),
        (-w, w),
        (-r, w),
        (-r, -w),
        (-w, -w),
    ]
    return [Part(corner)]


def _house(rng: random.Random) -> list[Part]:
    eaves, half, chimney, door = (
        rng.uniform(-0.15, -0.02),
        rng.uniform(0.62, 0.72),
        rng.choice((-1, 1)) * 0.42,
        rng.uniform(-0.36, 0.06),
    )
    roof_tone = rng.uniform(0.55, 0.75)
    parts = [Part(_box(chimney - 0.1, -0.8, chimney + 0.1, -0.2), roof_tone)] if rng.random() < 0.6 else []
    parts += [
        Part(_box(-half, eaves - 0.05, half, 0.82)),
        Part([(0, -0.92), (half + 0.2, eaves), (-half - 0.2, eaves)], roof_tone),
    ]
    parts += [Part(_box(door, 0.28, door + 0.3, 0.82), 0.35)]
    if rng.random() < 0.6:
        side = 0.22 if door < -0.1 else -0.5
        parts += [Part(_box(side, 0.16, side + 0.28, 0.44), 1.7)]
    return parts


def _tree(rng: random.Random) -> list[Part]:
    trunk = {"rgb": BROWN} if rng.random() < 0.5 else {"tone": 0.35}
    if rng.random() < 0.4:
        sides = [(0, -0.96), (0.42, -0.38), (0.24, -0.38), (0.58, 0.12), (0.34, 0.12), (0.72, 0.6)]
        return [Part(_box(-0.13, 0.5, 0.13, 0.96), **trunk), Part([*sides, *((-x, y) for x, y in sides[:0:-1])])]
    bumps, depth, phase = rng.randint(6, 8), rng.uniform(0.05, 0.09), rng.uniform(0, 6.28)
    turns = [2 * math.pi * step / 72 for step in range(72)]
    crown = [
        (
            (0.72 + depth * abs(math.sin(bumps * a / 2 + phase))) * math.cos(a),
            -0.26 + (0.6 + depth * abs(math.sin(bumps * a / 2 + phase))) * math.sin(a),
        )
        for a in turns
    ]
    return [Part(_box(-0.15, 0.2, 0.15, 0.96), **trunk), Part(crown)]


_DRAWN = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "house": _house,
    "tree": _tree,
}


def parts(noun: str, seed: int) -> list[Part]:
    """Returns the polygons of a thing from back to front, the same for the same seed."""
    return _DRAWN[noun](random.Random(f"{noun} {seed}"))
