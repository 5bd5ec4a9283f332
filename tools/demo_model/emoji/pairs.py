"""Pairs of the emoji world, each made from its seed; those of held-out sets have their own style and photographs."""

import random
from dataclasses import dataclass, replace

import numpy as np

import seeds
from emoji import scenes
from emoji.render import Sticker, contrast, draw, visible
from emoji.vocabulary import BESIDE, COLORED, COLORS, NOUNS, PHRASINGS, WEARERS
from hard import grounds
from hard.words import phrases
from vocabulary import PLACES, article

OBJECT_COVERAGE = 0.5
EDIT_COVERAGE = 0.2
# An edit is redrawn when less than this share of its thing can be seen.
LEAST_VISIBLE = 0.6
# Nor where it hardly differs from the ground behind it, in levels.
LEAST_CONTRAST = 75
# How often each action is drawn; a hat that is given counts as an addition.
ACTION_SHARES = {"change": 0.30, "recolor": 0.17, "remove": 0.18, "add": 0.24, "wear": 0.11}
ACTIONS = ("change", "recolor", "remove", "add")
NEW_COLOR = 0.5
BY_A_LANDMARK = 0.4
PLACE_JITTER = 0.03
GAP = 0.02
FULL_STOP = 0.1


@dataclass(frozen=True)
class Edit:
    """An instruction over the things `before`, and the things `after` it."""

    action: str
    instruction: str
    object: str
    span: tuple[int, int]
    """The object's characters in the instruction, [start, end)."""
    replacement: str
    place: str
    said: str
    """What tells the object from its rivals: noun, color, size or place."""
    before: tuple[Sticker, ...]
    after: tuple[Sticker, ...]
    old: int | None
    new: int | None


@dataclass(frozen=True)
class Pair:
    """One edit with its pictures, (size, size, 3) uint8, and masks, (size, size) bool, as in the drawn world."""

    seed: int
    edit: Edit
    source: np.ndarray
    target: np.ndarray
    object_mask: np.ndarray
    edit_mask: np.ndarray
    strata: dict[str, object]


def _write(
    rng: random.Random, kind: str, object_: str, before: str = "", after: str = "", **slots: str
) -> tuple[str, tuple[int, int]]:
    """Fills a random phrasing; returns the instruction and the span of `object_` in it."""
    template = rng.choice(PHRASINGS[kind])
    words = " ".join(filter(None, (before, object_, after)))
    start = len(template.split("{object}")[0].format(**slots)) + (len(before) + 1 if before else 0)
    text = template.format(object=words, **slots)
    return text + ("." if text[-1] != "?" and rng.random() < FULL_STOP else ""), (start, start + len(object_))


def _named(thing: Sticker) -> str:
    return f"{thing.color} {thing.noun}".strip()


def _standing(rng: random.Random, action: str, things: tuple[Sticker, ...], shunned: tuple[str, ...]) -> Edit | None:
    """Draws a change, recoloring or removal."""
    colored = [i for i, it in enumerate(things) if it.noun in COLORED]
    if action == "recolor" and not colored:
        return None
    index = rng.choice(colored if action == "recolor" else range(len(things)))
    clear = phrases(things, index, rng, True)
    if not clear:
        return None
    phrase = clear[0] if rng.random() < 0.6 else rng.choice(clear)
    old, new, slots, replacement = things[index], None, {}, ""
    if action == "change":
        noun = rng.choice([it for it in NOUNS if it != old.noun and it not in shunned])
        color = ""
        if noun in COLORED:
            color = rng.choice(list(COLORS)) if rng.random() < NEW_COLOR or not old.color else old.color
        new = replace(old, noun=noun, color=color)
        # A color that stays is not said.
        replacement = noun if color and color == old.color else f"{color} {noun}".strip()
        slots = {"new": f"{article(replacement)} {replacement}"}
    elif action == "recolor":
        replacement = rng.choice([it for it in COLORS if it != old.color])
        new = replace(old, color=replacement)
        slots = {"color": replacement}
    text, span = _write(rng, action, phrase.name, phrase.before, phrase.after, **slots)
    after = things[:index] + ((new,) if new else ()) + things[index + 1 :]
    return Edit(
        action, text, phrase.name, span, replacement, "", phrase.said, things, after, index, index if new else None
    )


def _adding(rng: random.Random, of: tuple[str, ...], shunned: tuple[str, ...]) -> Edit | None:
    """Draws the adding of a thing in a zone of the picture or beside another one."""
    new = scenes.new_sticker(rng, of, shunned)
    if rng.random() < BY_A_LANDMARK:
        mark = scenes.new_sticker(rng, of, shunned)
        mark = replace(mark, x=rng.uniform(mark.radius, 1 - mark.radius), y=rng.uniform(mark.radius, 1 - mark.radius))
        beside = rng.choice(list(BESIDE))
        (across, down), far = BESIDE[beside], mark.radius + new.radius + GAP
        sides = [replace(new, x=mark.x + way * across * far, y=mark.y + way * down * far) for way in (1, -1)]
        # On the right of what it stands next to, where there is room, else on the left.
        new = next((it for it in sides[: 2 if beside == next(iter(BESIDE)) else 1] if scenes.inside(it)), None)
        if new is None:
            return None
        things = scenes.things(rng, of, shunned, (mark,))
        clear = phrases(things, things.index(mark), rng, True)
        if not clear:
            return None
        place = f"{beside} {clear[0].text}"
    else:
        place = rng.choice(list(PLACES))
        inset = new.radius + scenes.MARGIN
        x, y = (min(1 - inset, max(inset, at + rng.uniform(-PLACE_JITTER, PLACE_JITTER))) for at in PLACES[place])
        new = replace(new, x=x, y=y)
        things = scenes.things(rng, of, shunned)
    if any(scenes.apart(new, it) < 1.0 for it in things):
        return None
    words = _named(new)
    text, span = _write(rng, "add", words, a=article(words), place=place)
    return Edit("add", text, words, span, words, place, "", things, (*things, new), None, len(things))


def _wearing(rng: random.Random, of: tuple[str, ...], shunned: tuple[str, ...]) -> Edit | None:
    """Draws the giving of a hat or a crown."""
    wearer = scenes.new_sticker(rng, of, shunned, rng.choice([it for it in WEARERS if it not in shunned]))
    wearer = replace(wearer, radius=max(0.14, wearer.radius), degrees=wearer.degrees / 2)
    worn = scenes.new_sticker(rng, of, shunned, rng.choice(("hat", "hat", "crown")))
    worn = replace(worn, radius=wearer.radius * rng.uniform(0.45, 0.55), degrees=wearer.degrees, mirrored=False)
    low = wearer.radius + scenes.MARGIN
    top = low + 1.1 * worn.radius
    if top >= 1 - low:
        return None
    wearer = replace(wearer, x=rng.uniform(low, 1 - low), y=rng.uniform(top, 1 - low))
    worn = replace(worn, x=wearer.x, y=wearer.y - 0.80 * wearer.radius - 0.45 * worn.radius)
    things = scenes.things(rng, of, shunned, (wearer,))
    index = things.index(wearer)
    clear = phrases(things, index, rng, True)
    if not clear or any(scenes.apart(worn, it) < 1.0 for i, it in enumerate(things) if i != index):
        return None
    text, span = _write(rng, "wear", worn.noun, a=article(worn.noun), wearer=clear[0].text)
    return Edit(
        "add",
        text,
        worn.noun,
        span,
        worn.noun,
        f"on the {clear[0].text}",
        "",
        things,
        (*things, worn),
        None,
        len(things),
    )


def _tried(rng: random.Random, seed: int, size: int, kind: str) -> Pair | None:
    held_out = seed >= seeds.HELD_OUT_SETS
    ground, of = scenes.ground(rng, held_out), scenes.styles(rng, held_out)
    if kind == "wear":
        edit = _wearing(rng, of, ground.shows)
    elif kind == "add":
        edit = _adding(rng, of, ground.shows)
    else:
        edit = _standing(rng, kind, scenes.things(rng, of, ground.shows), ground.shows)
    if edit is None:
        return None
    shown, index = (edit.after, edit.new) if edit.old is None else (edit.before, edit.old)
    part = visible(shown, index, size)
    if part.sum() < LEAST_VISIBLE * visible((shown[index],), 0, size).sum():
        return None
    needed = part > EDIT_COVERAGE
    if edit.new is not None:
        needed |= visible(edit.after, edit.new, size) > EDIT_COVERAGE
    painted = ground.paint((size, size))
    edited = [shown[index]] if edit.new is None else [shown[index], edit.after[edit.new]]
    if any(contrast(painted, it) < LEAST_CONTRAST for it in edited):
        return None
    source, target = draw(painted, edit.before), draw(painted, edit.after)
    object_mask = part > OBJECT_COVERAGE
    return Pair(seed, edit, source, target, object_mask, needed, _strata(edit, ground, shown[index], object_mask))


def _strata(edit: Edit, ground: grounds.Ground, meant: Sticker, object_mask: np.ndarray) -> dict[str, object]:
    rivals = [it for i, it in enumerate(edit.before) if i != edit.old and it.noun == meant.noun]
    return {
        "things": len(edit.before),
        "rival": "none"
        if not rivals
        else "kind and color"
        if any(it.color == meant.color for it in rivals)
        else "kind",
        "said": edit.said,
        "worn": edit.action == "add" and edit.place.startswith("on the ") and edit.object in ("hat", "crown"),
        "ground": ground.kind,
        "ground_name": ground.name,
        "style": meant.style,
        "noun": meant.noun,
        "color": meant.color,
        "cut": not scenes.inside(meant),
        "area": round(float(object_mask.mean()), 4),
    }


def make_pair(seed: int, size: int, action: str | None = None) -> Pair:
    """Draws the pair of `seed`, the same each time. `size` is the pictures' side in pixels."""
    rng = random.Random(f"emoji {seed}")
    while True:
        kind = action or rng.choices(list(ACTION_SHARES), list(ACTION_SHARES.values()))[0]
        if action == "add" and rng.random() < ACTION_SHARES["wear"] / (ACTION_SHARES["add"] + ACTION_SHARES["wear"]):
            kind = "wear"
        pair = _tried(rng, seed, size, kind)
        if pair is not None:
            return pair
