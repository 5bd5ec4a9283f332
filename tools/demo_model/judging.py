"""Whether an edited picture is right, by analysis-by-synthesis: the wanted scene is drawn with every noun and color instead.

All errors are mean squares of 0-255 levels inside the edit mask, so that what happens elsewhere does not count here.
"""

from dataclasses import replace

import numpy as np

from pairs import Pair
from render import draw
from vocabulary import COLORS, NOUNS

# An edit must come nearer to the target than this share of its distance to the source (mean squares).
MARGIN = 0.5
# A removal must leave less than this share of the object's squared difference from the target: a strong blur leaves 0.07.
REMOVED = 0.06
# Largest mean change outside the edit, in levels, with which the rest of the picture still counts as kept.
KEPT = 12.0
# Pixels around the edit mask that belong neither to the inside nor to the outside.
BORDER = 2
# How an added thing may differ from the target's, since its words leave it open: its place, in pixels of a 64-pixel picture,
# its tilt, in degrees, and its size, as a factor.
SHIFTS = range(-4, 5, 2)
TURNS = range(-40, 41, 8)
FACTORS = (0.87, 0.93, 1.0, 1.07, 1.15)


def error(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Returns the mean squared difference of two (h, w, 3) pictures inside `mask`."""
    return float(np.square(one[mask].astype(np.float32) - other[mask].astype(np.float32)).mean())


def _poses(pair: Pair) -> list[tuple[dict, tuple[int, int]]]:
    """Returns the tilts and sizes, as traits of the thing, and the shifts that the edit leaves open."""
    if pair.edit.action != "add":
        return [({}, (0, 0))]
    thing = pair.edit.after.things[pair.edit.new]
    traits = [{"degrees": thing.degrees + turn, "radius": thing.radius * factor} for turn in TURNS for factor in FACTORS]
    return [(each, (y, x)) for each in traits for y in SHIFTS for x in SHIFTS]


def _nearest(pair: Pair, picture: np.ndarray, variants: dict[str, dict]) -> tuple[str, float]:
    """Returns the key of the variant of the wanted thing that the picture resembles most, and its error."""
    edit, size = pair.edit, len(picture)
    things = edit.after.things
    shifted, drawn, distances = {}, {}, {}
    for key, traits in variants.items():
        errors = []
        for pose, shift in _poses(pair):
            place = (key, *pose.values())
            if place not in drawn:
                thing = replace(things[edit.new], **traits, **pose)
                drawn[place] = draw(replace(edit.after, things=things[: edit.new] + (thing,) + things[edit.new + 1 :]), size)
            if shift not in shifted:
                shifted[shift] = np.roll(picture, shift, (0, 1))
            errors.append(error(shifted[shift], drawn[place], pair.edit_mask))
        distances[key] = min(errors)
    nearest = min(distances, key=distances.get)
    return nearest, distances[nearest]


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """Returns `mask` with a border of `by` pixels."""
    padded, (h, w) = np.pad(mask, by), mask.shape
    return np.max([padded[y : y + h, x : x + w] for y in range(2 * by + 1) for x in range(2 * by + 1)], 0)


def judge(pair: Pair, picture: np.ndarray, untouched: np.ndarray) -> dict[str, object]:
    """Judges one edit. `untouched` is the source as the autoencoder gives it back, for the change outside.

    `rel` is the squared error to the target relative to the source's: 1 where nothing was done, 0 where all is right.
    """
    edit, mask = pair.edit, pair.edit_mask
    to_target, to_source = error(picture, pair.target, mask), error(picture, pair.source, mask)
    facts = {"action": edit.action, "rel": to_target / error(pair.source, pair.target, mask)}
    right = to_target < MARGIN * to_source
    if edit.action == "remove":
        right = right and facts["rel"] < REMOVED
    else:
        wanted = edit.after.things[edit.new]
        colors = {color: {"color": color, "rgb": rgb} for color, rgb in COLORS.items()}
        color, to_wanted = _nearest(pair, picture, colors)
        facts["color"] = color == wanted.color
        if edit.action == "add":
            right = to_wanted < MARGIN * to_source
        right = right and facts["color"]
        if edit.action != "recolor":
            noun, _ = _nearest(pair, picture, {noun: {"noun": noun} for noun in NOUNS})
            facts["noun"] = noun == wanted.noun
            right = right and facts["noun"]
    near = grown(mask, BORDER)
    facts["outside"] = float(np.abs(picture[~near].astype(np.float32) - untouched[~near]).mean())
    right = right and facts["outside"] < KEPT
    facts["right"] = bool(right)
    return facts
