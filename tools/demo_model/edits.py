"""Edits of a scene: the instruction in words, and the scene as it should be afterwards."""

import random
from dataclasses import dataclass, replace

from scenes import Scene, Thing, fits, new_thing, phrase, sample_scene, shade
from vocabulary import COLORS, NEXT_TO, NOUNS, PHRASINGS, PLACES, article

# How often each action is drawn for training: more often what is learned later.
ACTION_SHARES = {"change": 0.22, "recolor": 0.24, "remove": 0.16, "add": 0.38}
# How often `change` names a color too; otherwise the new thing keeps the old one's color.
NEW_COLOR = 0.55
# How often `add` names a neighbor rather than a zone of the picture.
BESIDE = 0.35
# How often an instruction ends in a full stop.
FULL_STOP = 0.1
# Largest shift of an added thing from its zone's center, in units of the picture's side.
PLACE_JITTER = 0.03
# Gap between a thing and the one that is added next to it.
GAP = 0.03


@dataclass(frozen=True)
class Edit:
    """An instruction over `before` and the scene `after` it."""

    action: str
    instruction: str
    object: str
    """The words of the object: what is there already, or for `add` what is to appear."""
    span: tuple[int, int]
    """The object's characters in the instruction, [start, end)."""
    replacement: str
    """What is asked for: the new thing, the new color, or nothing."""
    place: str
    """The words of the place; for `add` only."""
    before: Scene
    after: Scene
    old: int | None
    """Index of the edited thing in `before`."""
    new: int | None
    """Index of the resulting thing in `after`."""


def _write(rng: random.Random, action: str, thing: str, **slots: str) -> tuple[str, tuple[int, int]]:
    """Fills a random phrasing of `action`; returns the instruction and the span of `thing` in it."""
    template = rng.choice(PHRASINGS[action])
    start = template.split("{object}")[0].format(**slots)
    text = template.format(object=thing, **slots) + ("." if rng.random() < FULL_STOP else "")
    return text, (len(start), len(start) + len(thing))


def _swapped(scene: Scene, index: int, thing: Thing | None) -> Scene:
    return replace(scene, things=scene.things[:index] + ((thing,) if thing else ()) + scene.things[index + 1 :])


def _edit_standing(rng: random.Random, action: str) -> Edit | None:
    """Draws a change, recoloring or removal of a thing that stands in the scene."""
    scene = sample_scene(rng)
    index = rng.randrange(len(scene.things))
    old, words = scene.things[index], phrase(rng, scene.things, index)
    if words is None:
        return None
    new, replacement, slots = None, "", {}
    if action == "change":
        color = rng.choice(list(COLORS)) if rng.random() < NEW_COLOR else ""
        noun = rng.choice([noun for noun in NOUNS if noun != old.noun])
        new = replace(old, noun=noun, color=color or old.color, rgb=shade(rng, color) if color else old.rgb)
        replacement = new.named("color") if color else noun
        slots = {"new": f"{article(replacement)} {replacement}"}
    elif action == "recolor":
        replacement = rng.choice([color for color in COLORS if color != old.color])
        new = replace(old, color=replacement, rgb=shade(rng, replacement))
        slots = {"color": replacement, "new": f"{article(replacement)} {replacement}"}
    text, span = _write(rng, action, words, **slots)
    after = _swapped(scene, index, new)
    return Edit(action, text, words, span, replacement, "", scene, after, index, index if new else None)


def _edit_adding(rng: random.Random) -> Edit | None:
    """Draws the adding of a thing to a zone of the picture, or to the right (else the left) of a neighbor."""
    new = new_thing(rng)
    words = new.named("size", "color") if new.size else new.named("color")
    if rng.random() < BESIDE:
        neighbor = new_thing(rng)
        low, high = neighbor.radius + 0.02, 1 - neighbor.radius - 0.02
        neighbor = replace(neighbor, x=rng.uniform(low, high), y=rng.uniform(low, high))
        step = neighbor.radius + new.radius + GAP
        sides = [replace(new, x=neighbor.x + side * step, y=neighbor.y) for side in (1, -1)]
        new = next((thing for thing in sides if fits(thing, [])), None)
        if new is None:
            return None
        scene = sample_scene(rng, (new,), (neighbor,))
        # The rule of the sides must hold in this scene as well, where other things stand in the way.
        index = scene.things.index(neighbor)
        named = phrase(rng, scene.things, index)
        if named is None or not fits(new, list(scene.things), 1.0):
            return None
        place = f"{NEXT_TO} {named}"
    else:
        place = rng.choice(list(PLACES))
        inset = new.radius + 0.015
        shifted = [center + rng.uniform(-PLACE_JITTER, PLACE_JITTER) for center in PLACES[place]]
        x, y = (min(1 - inset, max(inset, center)) for center in shifted)
        new = replace(new, x=x, y=y)
        scene = sample_scene(rng, (new,))
        if not fits(new, list(scene.things), 1.0):
            return None
    text, span = _write(rng, "add", words, article=article(words), place=place)
    after = replace(scene, things=(*scene.things, new))
    return Edit("add", text, words, span, words, place, scene, after, None, len(after.things) - 1)


def sample_edit(rng: random.Random, action: str | None = None) -> Edit:
    """Draws a scene and an edit of it; `action` is drawn too where it is not given."""
    action = action or rng.choices(list(ACTION_SHARES), list(ACTION_SHARES.values()))[0]
    while True:
        edit = _edit_adding(rng) if action == "add" else _edit_standing(rng, action)
        if edit is not None:
            return edit
