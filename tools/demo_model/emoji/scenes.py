"""Emoji scenes: what stands where over which ground."""

import random
from dataclasses import replace

from emoji.artwork import STYLES
from emoji.render import Sticker
from emoji.vocabulary import COLORED, COLORS, NOUNS
from hard import grounds

# How many things a scene holds, and how often.
COUNTS = {1: 0.10, 2: 0.25, 3: 0.30, 4: 0.20, 5: 0.15}
# How often a further thing is a rival: of the same kind, and then at times of the same color too.
RIVALS = 0.40
RADII = (0.105, 0.25)
TILT = 15
# Grounds of the training; those of the held-out sets are photographs alone.
GROUNDS = {"photograph": 0.70, "texture": 0.15, "plain": 0.15}
MARGIN = 0.015
# How often a thing is cut by the border, or lies partly over another one.
AT_THE_BORDER = 0.08
OVER_ANOTHER = 0.12
# How often the things of a scene are of one style.
ONE_STYLE = 0.7


def ground(rng: random.Random, held_out: bool) -> grounds.Ground:
    """Draws a ground."""
    kind = "photograph" if held_out else rng.choices(list(GROUNDS), list(GROUNDS.values()))[0]
    return grounds.sample(rng, kind, held_out)


def styles(rng: random.Random, held_out: bool) -> tuple[str, ...]:
    """Draws the styles of a scene's things."""
    known = [name for name, style in STYLES.items() if style.held_out == held_out]
    return (rng.choice(known),) if rng.random() < ONE_STYLE else tuple(known)


def new_sticker(
    rng: random.Random, of: tuple[str, ...], shunned: tuple[str, ...], noun: str = "", color: str = ""
) -> Sticker:
    """Draws a thing in one of the styles `of`, not placed yet; its kind is none of `shunned`."""
    noun = noun or rng.choice([it for it in NOUNS if it not in shunned])
    if noun in COLORED:
        color = color or rng.choice(list(COLORS))
    radius = RADII[0] + (RADII[1] - RADII[0]) * rng.random() ** 1.4
    tilt, mirrored = rng.uniform(-TILT, TILT), rng.random() < 0.5
    return Sticker(noun, color if noun in COLORED else "", rng.choice(of), radius, 0.0, 0.0, tilt, mirrored)


def apart(one: Sticker, other: Sticker) -> float:
    """Returns the distance of two things in units of the sum of their radii."""
    return ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5 / (one.radius + other.radius)


def inside(thing: Sticker) -> bool:
    """Whether a thing lies in the picture."""
    return all(MARGIN + thing.radius <= at <= 1 - MARGIN - thing.radius for at in (thing.x, thing.y))


def _placed(rng: random.Random, thing: Sticker, standing: list[Sticker]) -> Sticker | None:
    """Finds room for a thing among those that stand, at times at the border or partly over another one."""
    border, over = rng.random() < AT_THE_BORDER, bool(standing) and rng.random() < OVER_ANOTHER
    low = thing.radius * 0.5 if border else thing.radius + MARGIN
    least = 0.68 if over else 1.02
    for _ in range(30):
        thing = replace(thing, x=rng.uniform(low, 1 - low), y=rng.uniform(low, 1 - low))
        if all(apart(thing, it) >= least for it in standing):
            return thing
    return None


def things(
    rng: random.Random, of: tuple[str, ...], shunned: tuple[str, ...], standing: tuple[Sticker, ...] = ()
) -> tuple[Sticker, ...]:
    """Draws the things of a scene, from back to front, beside those that are `standing` already."""
    count = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
    found = list(standing)
    for _ in range(max(0, count - len(standing))):
        noun = color = ""
        if found and rng.random() < RIVALS:
            model = rng.choice(found)
            noun, color = model.noun, model.color if rng.random() < 0.4 else ""
        thing = _placed(rng, new_sticker(rng, of, shunned, noun, color), found)
        if thing is not None:
            found.append(thing)
    rng.shuffle(found)
    return tuple(found)
