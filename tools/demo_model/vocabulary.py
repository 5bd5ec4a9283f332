"""The words of the drawn world: what can be in a picture and how an instruction may ask for it."""

NOUNS = ("circle", "square", "triangle", "star", "heart", "cross", "house", "tree")

# sRGB, 0-255.
COLORS = {
    "red": (222, 42, 42),
    "green": (48, 168, 62),
    "blue": (48, 84, 224),
    "yellow": (246, 218, 50),
    "orange": (246, 138, 28),
    "purple": (146, 62, 190),
    "white": (246, 246, 246),
    "black": (28, 28, 30),
}

# Radius of an object's bounding circle in units of the picture's side. The unnamed size lies between the two named ones.
SIZES = {"small": (0.115, 0.130), "": (0.150, 0.180), "large": (0.205, 0.235)}

# Where `add` can put an object: the words of the place, and its center in units of the picture's side.
PLACES = {
    "on the left": (0.20, 0.50),
    "on the right": (0.80, 0.50),
    "at the top": (0.50, 0.20),
    "at the bottom": (0.50, 0.80),
    "in the middle": (0.50, 0.50),
}
NEXT_TO = "next to the"

# {object} is the phrase that the object mask belongs to; {new} (with its article) and {color} are what is asked for.
PHRASINGS = {
    "change": (
        "change the {object} to {new}",
        "change the {object} into {new}",
        "turn the {object} into {new}",
        "replace the {object} with {new}",
        "make the {object} {new}",
        "swap the {object} for {new}",
        "transform the {object} into {new}",
    ),
    "recolor": (
        "make the {object} {color}",
        "paint the {object} {color}",
        "color the {object} {color}",
        "turn the {object} {color}",
        "change the {object} to {color}",
        "change the color of the {object} to {color}",
        "give the {object} {new} color",
    ),
    "remove": (
        "remove the {object}",
        "erase the {object}",
        "delete the {object}",
        "get rid of the {object}",
        "take away the {object}",
    ),
    "add": (
        "add {article} {object} {place}",
        "put {article} {object} {place}",
        "draw {article} {object} {place}",
        "insert {article} {object} {place}",
        "place {article} {object} {place}",
    ),
}
ACTIONS = tuple(PHRASINGS)


def article(phrase: str) -> str:
    """Returns the indefinite article that goes before `phrase`."""
    return "an" if phrase[0] in "aeiou" else "a"


def words() -> list[str]:
    """Returns every word that an instruction can hold, sorted, each once."""
    templates = " ".join(text for texts in PHRASINGS.values() for text in texts)
    plain = [word for word in templates.split() if "{" not in word]
    places = " ".join([*PLACES, NEXT_TO]).split()
    return sorted({*NOUNS, *COLORS, *filter(None, SIZES), *plain, *places, "a", "an"})
