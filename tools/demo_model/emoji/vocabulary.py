"""The words of the emoji world: nouns, colors, places, and a hundred ways to ask for an edit."""

import re

from hard.words import LARGER, SIDES, SMALLER
from vocabulary import NEXT_TO, PLACES

# fmt: off
NOUNS = (
    "bee", "bird", "cat", "dog", "fox", "lion", "panda", "bear", "frog", "pig", "mouse", "rabbit", "cow", "butterfly",
    "fish", "turtle", "snail", "ladybug", "duck", "penguin", "owl", "octopus", "apple", "banana", "pear", "lemon",
    "orange", "strawberry", "mushroom", "pizza", "burger", "cupcake", "donut", "cookie", "lightbulb", "hat", "crown",
    "balloon", "heart", "star", "umbrella", "bell", "key", "gift", "guitar", "clock", "car", "bus", "bicycle",
    "airplane", "rocket", "boat", "tree", "tulip", "rose", "sunflower", "cactus", "cloud", "moon",
)
# fmt: on

# Those whose color is drawn at random and can be asked for; the others have the unnamed colors of their artwork.
COLORED = (
    "balloon",
    "heart",
    "star",
    "car",
    "octopus",
    "butterfly",
    "tulip",
    "fish",
    "umbrella",
    "gift",
    "mushroom",
    "boat",
)
# Hue in degrees, saturation and lightness of the named colors.
COLORS = {
    "red": (2, 0.85, 0.95),
    "orange": (28, 0.90, 1.0),
    "yellow": (50, 0.85, 1.0),
    "green": (125, 0.75, 0.75),
    "blue": (218, 0.80, 0.95),
    "purple": (275, 0.65, 0.85),
    "pink": (330, 0.50, 1.0),
}
# Those that can be given a hat.
WEARERS = ("cat", "dog", "fox", "lion", "panda", "bear", "frog", "pig", "mouse", "cow", "penguin", "owl")
BESIDE = {
    NEXT_TO: (1, 0),
    "to the right of the": (1, 0),
    "to the left of the": (-1, 0),
    "above the": (0, -1),
    "below the": (0, 1),
}

# {object} is the phrase that the object mask belongs to; {new} has its article; {color} is a color, {place} a place.
PHRASINGS = {
    "change": (
        "change the {object} to {new}",
        "change the {object} into {new}",
        "change the {object} for {new}",
        "turn the {object} into {new}",
        "replace the {object} with {new}",
        "replace the {object} by {new}",
        "make the {object} {new}",
        "make the {object} into {new}",
        "swap the {object} for {new}",
        "swap the {object} with {new}",
        "exchange the {object} for {new}",
        "transform the {object} into {new}",
        "convert the {object} to {new}",
        "morph the {object} into {new}",
        "substitute {new} for the {object}",
        "put {new} in place of the {object}",
        "put {new} where the {object} is",
        "use {new} instead of the {object}",
        "have {new} instead of the {object}",
        "let the {object} become {new}",
        "let the {object} be {new}",
        "the {object} should be {new}",
        "the {object} becomes {new}",
        "I want {new} instead of the {object}",
        "I would like the {object} to be {new}",
        "could you turn the {object} into {new}?",
        "please change the {object} to {new}",
        "please replace the {object} with {new}",
    ),
    "recolor": (
        "make the {object} {color}",
        "make the {object} look {color}",
        "make the color of the {object} {color}",
        "paint the {object} {color}",
        "paint the {object} in {color}",
        "color the {object} {color}",
        "colour the {object} {color}",
        "recolor the {object} {color}",
        "recolour the {object} in {color}",
        "dye the {object} {color}",
        "tint the {object} {color}",
        "turn the {object} {color}",
        "change the {object} to {color}",
        "change the color of the {object} to {color}",
        "change the colour of the {object} to {color}",
        "give the {object} a {color} color",
        "let the {object} be {color}",
        "the {object} should be {color}",
        "the {object} becomes {color}",
        "I want the {object} in {color}",
        "I would like the {object} {color}",
        "could you make the {object} {color}?",
        "please make the {object} {color}",
        "please paint the {object} {color}",
    ),
    "remove": (
        "remove the {object}",
        "erase the {object}",
        "delete the {object}",
        "drop the {object}",
        "get rid of the {object}",
        "take away the {object}",
        "take out the {object}",
        "take the {object} away",
        "take the {object} out",
        "cut out the {object}",
        "wipe out the {object}",
        "clear away the {object}",
        "make the {object} disappear",
        "make the {object} vanish",
        "let the {object} disappear",
        "the {object} should go",
        "the {object} has to go",
        "without the {object}",
        "no {object}",
        "I do not want the {object}",
        "I want the {object} gone",
        "could you remove the {object}?",
        "please remove the {object}",
        "please take the {object} away",
    ),
    "add": (
        "add {a} {object} {place}",
        "put {a} {object} {place}",
        "place {a} {object} {place}",
        "draw {a} {object} {place}",
        "paint {a} {object} {place}",
        "insert {a} {object} {place}",
        "set {a} {object} {place}",
        "show {a} {object} {place}",
        "have {a} {object} {place}",
        "there should be {a} {object} {place}",
        "let there be {a} {object} {place}",
        "I want {a} {object} {place}",
        "I would like {a} {object} {place}",
        "we need {a} {object} {place}",
        "could you add {a} {object} {place}?",
        "please add {a} {object} {place}",
    ),
    "wear": (
        "give the {wearer} {a} {object}",
        "put {a} {object} on the {wearer}",
        "add {a} {object} to the {wearer}",
        "let the {wearer} wear {a} {object}",
        "the {wearer} should wear {a} {object}",
        "have the {wearer} wear {a} {object}",
        "dress the {wearer} with {a} {object}",
        "the {wearer} gets {a} {object}",
        "I want {a} {object} on the {wearer}",
        "please give the {wearer} {a} {object}",
    ),
}


def words() -> list[str]:
    """Returns every word that an instruction can hold, sorted, each once."""
    texts = [re.sub(r"{\w+}", " ", text) for texts in PHRASINGS.values() for text in texts]
    texts += [*PLACES, *BESIDE, *NOUNS, *COLORS, "a an that is"]
    texts += [word for sizes in (SMALLER, LARGER) for words in sizes.values() for word in words]
    texts += [word for sides in SIDES.values() for words in sides for word in words]
    return sorted(set(re.findall(r"[a-z]+", " ".join(texts).lower())))
