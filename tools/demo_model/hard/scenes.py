"""Hard scenes by stratum: how things are drawn and placed, and which rivals the one that is meant has."""

import math
import random
from dataclasses import dataclass, replace

from hard.render import Style, Thing
from vocabulary import COLORS, NOUNS

SIZES = {"small": (0.085, 0.115), "medium": (0.125, 0.165), "large": (0.180, 0.225)}
COLOR_JITTER = 16
# Black and white would look tinted.
GREY_JITTER = 7
TILT = 18
WIDE = ((96, 64), (64, 96), (128, 64), (64, 128), (80, 64), (96, 72), (64, 48))
MARGIN = 0.02
# Shares of a thing's box that lie outside the picture, where it is cut by the border.
CUT = (0.15, 0.32)
# Two things touch or hide each other where their distance is this share of the sum of their radii.
TOUCHING = (0.42, 0.80)
# How often the one that is meant is the one behind.
BEHIND = 0.6
# Least distance of their colors, in levels.
UNLIKE = 100


@dataclass(frozen=True)
class Stratum:
    """What is drawn. The last two say how often, beside what the stratum is about, another hardness comes in."""

    things: tuple[int, int] = (2, 4)
    style: str = "flat"
    ground: str = "plain"
    wide: bool = False
    rivals: str = "some"
    """some; both: one of the same kind and one of the same color; twins: of the same kind and the same color."""
    borders: bool = False
    styled: float = 0.2
    grounded: float = 0.2


STRATA = {
    "rivals": Stratum(things=(4, 5), rivals="both"),
    "places and sizes": Stratum(things=(2, 4), rivals="twins"),
    "borders": Stratum(things=(2, 4), borders=True),
    "photographs": Stratum(ground="photograph", styled=0.3, grounded=0),
    "textures": Stratum(ground="texture", styled=0.3, grounded=0),
    "outlines": Stratum(style="outlined", styled=0),
    "shading": Stratum(style="shaded", styled=0),
    "wide": Stratum(things=(2, 5), wide=True, grounded=0.3),
}


def shade(rng: random.Random, color: str) -> tuple[float, float, float]:
    """Returns a varied RGB of the named color, levels 0-255."""
    most = GREY_JITTER if color in ("black", "white") else COLOR_JITTER
    return tuple(min(255.0, max(0.0, level + rng.uniform(-most, most))) for level in COLORS[color])


def new_thing(rng: random.Random, shunned: tuple[str, ...], noun: str = "", color: str = "", size: str = "") -> Thing:
    """Draws a thing that is not placed yet; its kind is none of `shunned`."""
    color = color or rng.choice(list(COLORS))
    return Thing(
        noun=noun or rng.choice([noun for noun in NOUNS if noun not in shunned]),
        color=color,
        rgb=shade(rng, color),
        radius=rng.uniform(*SIZES[size or rng.choices(list(SIZES), (0.35, 0.45, 0.20))[0]]),
        x=0.0,
        y=0.0,
        degrees=rng.uniform(-TILT, TILT),
        seed=rng.getrandbits(24),
    )


def style(rng: random.Random, kind: str) -> Style:
    """Draws how a scene's things look."""
    light = rng.uniform(20, 160)
    match kind:
        case "outlined":
            ink = (22, 20, 26) if rng.random() < 0.7 else (70, 42, 30)
            return Style("sketched" if rng.random() < 0.5 else "outlined", rng.uniform(0.018, 0.032), ink, light)
        case "shaded":
            return Style("shaded", 0.0, light=light, shadow=rng.uniform(0.2, 0.45) if rng.random() < 0.75 else 0.0)
    return Style("flat", light=light, shadow=rng.uniform(0.15, 0.3) if rng.random() < 0.15 else 0.0)


def apart(one: Thing, other: Thing) -> float:
    """Returns the distance of two things in units of the sum of their radii."""
    return ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5 / (one.radius + other.radius)


def inside(thing: Thing, sides: tuple[float, float]) -> bool:
    """Whether a thing lies in a picture of `sides` (width, height), in units of the shorter one."""
    return all(
        MARGIN + thing.radius <= at <= side - MARGIN - thing.radius for at, side in zip((thing.x, thing.y), sides)
    )


def _anywhere(rng: random.Random, thing: Thing, sides: tuple[float, float]) -> Thing:
    x, y = (rng.uniform(thing.radius + MARGIN, side - thing.radius - MARGIN) for side in sides)
    return replace(thing, x=x, y=y)


def _at_the_border(rng: random.Random, thing: Thing, sides: tuple[float, float]) -> Thing:
    """Places a thing so that a border cuts it."""
    thing = _anywhere(rng, thing, sides)
    out = thing.radius * (1 - 2 * rng.uniform(*CUT))
    side = rng.randrange(4)
    if side < 2:
        return replace(thing, x=out if side == 0 else sides[0] - out)
    return replace(thing, y=out if side == 2 else sides[1] - out)


def _beside(rng: random.Random, thing: Thing, other: Thing) -> Thing:
    """Places a thing so that it touches `other` or lies partly over it."""
    far = rng.uniform(*TOUCHING) * (thing.radius + other.radius)
    x, y = rng.gauss(0, 1), rng.gauss(0, 1)
    length = max(1e-6, (x * x + y * y) ** 0.5)
    return replace(thing, x=other.x + far * x / length, y=other.y + far * y / length)


def _kinds(rng: random.Random, stratum: Stratum, shunned: tuple[str, ...], count: int) -> list[Thing]:
    """Draws things that are not placed yet; the first is the one that is meant."""
    meant = new_thing(rng, shunned)
    if stratum.borders and rng.random() < 0.6:
        meant = new_thing(rng, shunned, size="small")
    things = [meant]
    if stratum.rivals == "both":
        things.append(
            new_thing(rng, shunned, noun=meant.noun, color=rng.choice([it for it in COLORS if it != meant.color]))
        )
        things.append(
            new_thing(
                rng,
                shunned,
                noun=rng.choice([it for it in NOUNS if it not in (meant.noun, *shunned)]),
                color=meant.color,
            )
        )
    if stratum.rivals == "twins":
        for _ in range(1 if count == 2 or rng.random() < 0.6 else 2):
            things.append(new_thing(rng, shunned, noun=meant.noun, color=meant.color))
        if rng.random() < 0.45:
            small, large = (rng.uniform(*SIZES[size]) for size in ("small", "large"))
            first, rest = (small, large) if rng.random() < 0.5 else (large, small)
            things = [
                replace(things[0], radius=first),
                *(replace(it, radius=rest * rng.uniform(0.95, 1.05)) for it in things[1:]),
            ]
    while len(things) < count:
        other = rng.choice(things)
        which = rng.random()
        noun, color = (other.noun, "") if which < 0.3 else ("", other.color) if which < 0.5 else ("", "")
        things.append(new_thing(rng, shunned, noun=noun, color=color))
    return things[: max(count, 2 if stratum.rivals != "some" else 1)]


def place(
    rng: random.Random, stratum: Stratum, sides: tuple[float, float], shunned: tuple[str, ...]
) -> tuple[tuple[Thing, ...], int] | None:
    """Draws the things of a scene from back to front and which of them is meant; None where they found no room."""
    things = _kinds(rng, stratum, shunned, rng.randint(*stratum.things))
    cut = stratum.borders and rng.random() < 0.5
    placed: list[Thing] = []
    for order, thing in enumerate(things):
        touches = stratum.borders and order == 1 and not cut
        for _ in range(60):
            if order == 0 and cut:
                thing = _at_the_border(rng, thing, sides)
            elif touches:
                thing = _beside(rng, thing, placed[0])
            else:
                thing = _anywhere(rng, thing, sides)
            near = [it for it in placed if not (touches and it is placed[0])]
            if touches and math.dist(thing.rgb, placed[0].rgb) < UNLIKE:
                return None
            if all(apart(thing, it) > 1.05 for it in near) and (inside(thing, sides) or (order == 0 and cut)):
                placed.append(thing)
                break
        else:
            return None
    order = list(range(len(placed)))
    rng.shuffle(order)
    if stratum.borders and not cut and len(placed) > 1 and rng.random() < BEHIND:
        behind, front = sorted((order.index(0), order.index(1)))
        order[behind], order[front] = 0, 1
    return tuple(placed[i] for i in order), order.index(0)
