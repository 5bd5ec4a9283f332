"""Scenes: several things of known kind, color, size and place over a background, and phrases that mean exactly one of them."""

import random
from dataclasses import dataclass, replace

from vocabulary import COLORS, NOUNS, SIZES
import backgrounds

# How many things a scene holds, and how often.
COUNTS = {1: 0.08, 2: 0.22, 3: 0.40, 4: 0.30}
# How often a further thing repeats the kind or the color of one that is already there.
REPEAT = 0.50
# Two things may overlap when the distance of their centers is at least this share of the sum of their radii.
CROWDING = 0.78
CROWDED_SCENES = 0.25
# Largest tilt either way, in degrees.
TILT = 20
# Largest change of a color's three levels.
COLOR_JITTER = 12
MARGIN = 0.02


@dataclass(frozen=True)
class Thing:
    """One object. Lengths are in units of the picture's side; (x, y) is the center, y grows downward."""

    noun: str
    color: str
    rgb: tuple[float, float, float]
    size: str
    radius: float
    x: float
    y: float
    degrees: float

    def named(self, *traits: str) -> str:
        """Returns the noun with the words of `traits` ("size", "color") before it."""
        return " ".join([*(getattr(self, trait) for trait in traits), self.noun])


@dataclass(frozen=True)
class Scene:
    """Things from back to front over a background."""

    things: tuple[Thing, ...]
    background: str
    background_seed: int


def shade(rng: random.Random, color: str) -> tuple[float, float, float]:
    """Returns a slightly varied RGB of the named color, levels 0-255."""
    return tuple(min(255.0, max(0.0, level + rng.uniform(-COLOR_JITTER, COLOR_JITTER))) for level in COLORS[color])


def new_thing(rng: random.Random, noun: str | None = None, color: str | None = None, size: str | None = None) -> Thing:
    """Draws a thing with the given traits, the rest at random, not placed yet."""
    color = color or rng.choice(list(COLORS))
    size = rng.choices(list(SIZES), (0.22, 0.53, 0.25))[0] if size is None else size
    return Thing(
        noun=noun or rng.choice(NOUNS),
        color=color,
        rgb=shade(rng, color),
        size=size,
        radius=rng.uniform(*SIZES[size]),
        x=0.5,
        y=0.5,
        degrees=rng.uniform(-TILT, TILT),
    )


def fits(thing: Thing, others: list[Thing], crowding: float = 1.06) -> bool:
    """Whether `thing` lies inside the picture and keeps its distance from `others`."""
    inside = all(MARGIN / 2 + thing.radius <= center <= 1 - MARGIN / 2 - thing.radius for center in (thing.x, thing.y))
    apart = lambda other: (thing.x - other.x) ** 2 + (thing.y - other.y) ** 2 >= (crowding * (thing.radius + other.radius)) ** 2
    return inside and all(apart(other) for other in others)


def _further_thing(rng: random.Random, things: list[Thing]) -> Thing:
    if things and rng.random() < REPEAT:
        model = rng.choice(things)
        if rng.random() < 0.5:
            return new_thing(rng, noun=model.noun)
        return new_thing(rng, color=model.color)
    return new_thing(rng)


def sample_scene(rng: random.Random, kept_free: tuple[Thing, ...] = (), standing: tuple[Thing, ...] = ()) -> Scene:
    """Draws a scene that holds `standing` and has room for `kept_free` (placed things that are not drawn)."""
    count = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
    crowding = CROWDING if rng.random() < CROWDED_SCENES else 1.06
    things = list(standing)
    while len(things) < count:
        thing = _further_thing(rng, [*things, *kept_free])
        for _ in range(40):
            low, high = thing.radius + MARGIN, 1 - thing.radius - MARGIN
            thing = replace(thing, x=rng.uniform(low, high), y=rng.uniform(low, high))
            if fits(thing, things, crowding) and fits(thing, list(kept_free)):
                things.append(thing)
                break
        else:
            if len(things) > len(standing) or kept_free:
                break  # no room left: a scene with fewer things
    rng.shuffle(things)
    kind = rng.choices(list(backgrounds.KINDS), list(backgrounds.KINDS.values()))[0]
    return Scene(tuple(things), kind, rng.getrandbits(32))


def phrase(rng: random.Random, things: tuple[Thing, ...], index: int) -> str | None:
    """Returns words that mean `things[index]` and no other thing, or None where no words do."""
    meant = things[index]
    candidates = [traits for traits in ((), ("color",), ("size",), ("size", "color")) if "size" not in traits or meant.size]
    names = lambda other, traits: other.noun == meant.noun and all(getattr(other, t) == getattr(meant, t) for t in traits)
    clear = [traits for traits in candidates if sum(names(other, traits) for other in things) == 1]
    if not clear:
        return None
    if ("color",) in clear and rng.random() < 0.4:
        return meant.named("color")
    return meant.named(*(clear[0] if rng.random() < 0.6 else rng.choice(clear)))
