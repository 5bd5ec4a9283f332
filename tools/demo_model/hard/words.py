"""Words of the hard scenes: which phrase means exactly one thing, and how an edit of it is asked for.

A phrase may need what lies beyond the noun: a color, a size beside its rivals, a place. Half of the instructions are in
the phrasings that the model was trained with, half as people say it; the held-out scenes have their own natural ones.
"""

import random
from dataclasses import dataclass

from hard.render import Thing
from vocabulary import PHRASINGS, article

# A rival must differ by these to be told apart: a ratio of radii, a distance in units of the picture's shorter side.
CLEARLY_LARGER = 1.35
CLEARLY_APART = 0.20


@dataclass(frozen=True)
class Phrase:
    """What means a thing: `{object}` in an instruction is "the " and `before`, `name`, `after`."""

    name: str
    said: str
    """What tells the thing from its rivals: noun, color, size or place."""
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        return " ".join(filter(None, (self.before, self.name, self.after)))


# What is said of the thing that lies farthest to a side: words before the noun, or after it.
SIDES = {
    "left": (("left", "leftmost", "left-hand"), ("on the left", "to the left", "on the left side")),
    "right": (("right", "rightmost", "right-hand"), ("on the right", "to the right", "on the right side")),
    "top": (("upper", "top", "topmost"), ("at the top", "near the top")),
    "bottom": (("lower", "bottom"), ("at the bottom", "near the bottom", "down at the bottom")),
}
SMALLER = {False: ("small", "smaller", "little"), True: ("smallest", "small", "tiniest")}
LARGER = {False: ("large", "larger", "big", "bigger"), True: ("largest", "large", "biggest")}


def _side_of(meant: Thing, rivals: list[Thing]) -> list[str]:
    """Returns the sides on which `meant` lies clearly farther out than all of its rivals."""
    beyond = {
        "left": min(other.x - meant.x for other in rivals),
        "right": min(meant.x - other.x for other in rivals),
        "top": min(other.y - meant.y for other in rivals),
        "bottom": min(meant.y - other.y for other in rivals),
    }
    return [side for side, distance in beyond.items() if distance >= CLEARLY_APART]


def phrases(things: tuple[Thing, ...], index: int, rng: random.Random, natural: bool) -> list[Phrase]:
    """Returns phrases that mean `things[index]` alone, those that need the fewest words first."""
    meant = things[index]
    found = []
    named = (("noun", meant.noun), ("color", f"{meant.color} {meant.noun}"))
    for traits, name in named if meant.color else named[:1]:
        others = [it for i, it in enumerate(things) if i != index and it.noun == meant.noun]
        rivals = [it for it in others if traits == "noun" or it.color == meant.color]
        if not rivals:
            found.append(Phrase(name, traits))
            if natural and traits == "color" and others:
                found.append(Phrase(f"{meant.noun} that is {meant.color}", traits))
            continue
        many = len(rivals) > 1
        ratios = [meant.radius / it.radius for it in rivals]
        if max(ratios) <= 1 / CLEARLY_LARGER:
            found.append(Phrase(f"{rng.choice(SMALLER[many][: None if natural else 1])} {name}", "size"))
        if min(ratios) >= CLEARLY_LARGER:
            found.append(Phrase(f"{rng.choice(LARGER[many][: None if natural else 1])} {name}", "size"))
        for side in _side_of(meant, rivals):
            before, after = SIDES[side]
            found.append(Phrase(name, "place", before=rng.choice(before)))
            found.append(Phrase(name, "place", after=rng.choice(after)))
    return found


# {object} goes with its article; {new} is the new thing with its own, {color} the new color, {place} where it is to be.
NATURAL = {
    "change": (
        "Could you turn the {object} into {new}?",
        "please replace the {object} with {new}",
        "I'd like the {object} to be {new}",
        "the {object} should become {new}",
        "Can you swap the {object} for {new}, please?",
        "I want {new} instead of the {object}",
        "substitute {new} for the {object}",
        "Let the {object} be {new}.",
        "Make the {object} into {new}, please.",
        "exchange the {object} for {new}",
        "Would you change the {object} into {new}?",
        "the {object} would look better as {new}",
    ),
    "recolor": (
        "Could you please make the {object} {color}?",
        "dye the {object} {color}",
        "I'd like the {object} in {color}",
        "Recolour the {object} {color}, please.",
        "the {object} should be {color}",
        "tint the {object} {color}",
        "Can the {object} be {color} instead?",
        "change the {object}'s colour to {color}",
        "Please colour the {object} {color}.",
        "make the color of the {object} {color}",
        "Paint the {object} {color} for me",
        "let's have the {object} in {color}",
    ),
    "remove": (
        "Could you take out the {object}?",
        "I don't want the {object} in the picture",
        "please get rid of the {object}",
        "wipe out the {object}",
        "Make the {object} disappear.",
        "The {object} has to go.",
        "I'd like the {object} gone",
        "cut the {object} out, please",
        "Can you erase the {object} for me?",
        "drop the {object}",
        "the picture would be better without the {object}",
        "Clear away the {object}.",
    ),
    "add": (
        "Could you add {object} {place}?",
        "I'd like {object} {place}",
        "there should be {object} {place}",
        "please put {object} {place}",
        "Draw me {object} {place}, please.",
        "Can you place {object} {place}?",
        "I want to see {object} {place}",
        "stick {object} {place}",
        "Let there be {object} {place}.",
        "Insert {object} {place} for me",
        "add also {object} {place}",
        "We need {object} {place}.",
    ),
}


def told(rng: random.Random, action: str, words: str, natural: bool, held_out: bool, **slots: str) -> str:
    """Returns an instruction. `words` are the object's, without an article."""
    if not natural:
        return rng.choice(PHRASINGS[action]).format(object=words, article=article(words), **slots)
    if action == "add":
        words = f"{article(words)} {words}"
    # Alternately: six of each action for tuning, six for the held-out scenes.
    text = rng.choice(NATURAL[action][held_out::2]).format(object=words, **slots)
    return text
