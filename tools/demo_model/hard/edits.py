"""Edits of the hard scenes: things before and after, and an instruction in the model's words or in natural ones."""

import random
from dataclasses import dataclass, replace

from hard import scenes
from hard.render import Thing
from hard.words import Phrase, phrases, told
from vocabulary import COLORS, NOUNS, PLACES, article

# How often an instruction is in natural words.
NATURAL = 0.5
# How often an addition is beside a landmark rather than in a zone of the picture.
BY_A_LANDMARK = 0.45
# Between a thing and the one that is added beside it.
GAP = 0.03
# Places of an addition beside a landmark, with the direction of each.
BESIDE = {
    "next to": (1, 0),
    "to the right of": (1, 0),
    "to the left of": (-1, 0),
    "above": (0, -1),
    "below": (0, 1),
    "under": (0, 1),
}
# Nouns that the model was never shown.
# fmt: off
UNSEEN = (
    "unicorn", "dog", "cat", "horse", "bird", "fish", "car", "bicycle", "boat", "chair", "lamp", "cup", "book", "hat",
    "umbrella", "man", "apple", "banana", "mushroom", "bridge", "castle", "moon",
)
# fmt: on


@dataclass(frozen=True)
class Absent:
    """The same instruction about something that is not there."""

    words: str
    kind: str
    """noun; color: a noun that is there in a color that it has not; word: a noun that the model was never shown."""
    instruction: str


@dataclass(frozen=True)
class Edit:
    """Things before and after, and the words of the edit."""

    action: str
    before: tuple[Thing, ...]
    after: tuple[Thing, ...]
    old: int | None
    new: int | None
    phrase: Phrase
    replacement: str
    place: str
    instruction: str
    natural: bool
    """Whether it is in natural words rather than in the model's own."""
    absent: Absent | None = None
    """None for an addition."""


def _absent(
    rng: random.Random, things: tuple[Thing, ...], replacement: str, shunned: tuple[str, ...]
) -> tuple[str, str]:
    """Returns words for something that no thing is, and of which kind they are."""
    kind = rng.choice(("noun", "color", "word"))
    there = {thing.noun for thing in things}
    if kind == "noun":
        left = [noun for noun in NOUNS if noun not in there and noun not in shunned and noun not in replacement]
        if left:
            noun = rng.choice(left)
            return (f"{rng.choice(list(COLORS))} {noun}" if rng.random() < 0.5 else noun), kind
    if kind == "color":
        noun = rng.choice(sorted(there))
        left = [
            color
            for color in COLORS
            if all((it.noun, it.color) != (noun, color) for it in things) and color not in replacement
        ]
        if left and noun not in replacement:
            return f"{rng.choice(left)} {noun}", kind
    word = rng.choice(UNSEEN)
    return (f"{rng.choice(list(COLORS))} {word}" if rng.random() < 0.4 else word), "word"


def standing(
    rng: random.Random,
    action: str,
    things: tuple[Thing, ...],
    index: int,
    shunned: tuple[str, ...],
    rivals: str,
    held_out: bool,
) -> Edit | None:
    """Draws a change, recoloring or removal of `things[index]`."""
    natural = rng.random() < NATURAL
    clear = phrases(things, index, rng, natural)
    wanted = {"twins": ("size", "place"), "both": ("color", "size")}.get(rivals, ("noun", "color", "size", "place"))
    clear = [it for it in clear if it.said in wanted]
    if not clear:
        return None
    phrase = clear[0] if rng.random() < 0.5 else rng.choice(clear)
    old, new, slots, replacement = things[index], None, {}, ""
    if action == "change":
        color = rng.choice(list(COLORS)) if rng.random() < 0.5 else ""
        noun = rng.choice([it for it in NOUNS if it != old.noun and it not in shunned])
        new = replace(old, noun=noun, color=color or old.color, rgb=scenes.shade(rng, color) if color else old.rgb)
        replacement = f"{color} {noun}".strip()
        slots = {"new": f"{article(replacement)} {replacement}"}
    elif action == "recolor":
        replacement = rng.choice([it for it in COLORS if it != old.color])
        new = replace(old, color=replacement, rgb=scenes.shade(rng, replacement))
        slots = {"color": replacement, "new": f"{article(replacement)} {replacement}"}
    after = things[:index] + ((new,) if new else ()) + things[index + 1 :]
    words, kind = _absent(rng, things, replacement, shunned)
    state = rng.getstate()
    instruction = told(rng, action, phrase.text, natural, held_out, **slots)
    rng.setstate(state)  # the same phrasing
    absent = Absent(words, kind, told(rng, action, words, natural, held_out, **slots))
    old_and_new = (index, index if new else None)
    return Edit(action, things, after, *old_and_new, phrase, replacement, "", instruction, natural, absent)


def adding(
    rng: random.Random,
    things: tuple[Thing, ...],
    index: int,
    sides: tuple[float, float],
    held_out: bool,
    shunned: tuple[str, ...],
) -> Edit | None:
    """Draws the adding of a thing to a zone of the picture, or beside `things[index]`."""
    natural = rng.random() < NATURAL
    new = scenes.new_thing(rng, shunned, size=rng.choice(("small", "medium", "medium", "large")))
    size = {0: "small ", 1: "", 2: "large "}[sum(new.radius > top for _, top in scenes.SIZES.values())]
    if rng.random() < BY_A_LANDMARK:
        clear = phrases(things, index, rng, natural)
        if not clear:
            return None
        beside = rng.choice(list(BESIDE) if natural else ["next to"])
        across, down = BESIDE[beside]
        mark, far = things[index], things[index].radius + new.radius + GAP
        at = replace(new, x=mark.x + across * far, y=mark.y + down * far)
        if beside == "next to" and not scenes.inside(at, sides):
            at = replace(at, x=mark.x - far)
        new, place = at, f"{beside} the {clear[0].text}"
    else:
        place = rng.choice(list(PLACES))
        x, y = (center * side + rng.uniform(-0.03, 0.03) for center, side in zip(PLACES[place], sides))
        inset = new.radius + 0.03
        new = replace(new, x=min(sides[0] - inset, max(inset, x)), y=min(sides[1] - inset, max(inset, y)))
    if not scenes.inside(new, sides) or any(scenes.apart(new, it) < 1.02 for it in things):
        return None
    words = f"{size}{new.color} {new.noun}"
    told_so = told(rng, "add", words, natural, held_out, place=place)
    return Edit("add", things, (*things, new), None, len(things), Phrase(words, "noun"), words, place, told_so, natural)
