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
# How far an added thing may stand from where the target has it, in pixels of a 64-pixel picture.
SHIFTS = range(-4, 5, 2)


def error(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Returns the mean squared difference of two (h, w, 3) pictures inside `mask`."""
    return float(np.square(one[mask].astype(np.float32) - other[mask].astype(np.float32)).mean())


def _nearest(pair: Pair, picture: np.ndarray, variants: dict[str, dict]) -> str:
    """Returns the key of the variant of the wanted thing that the picture resembles most."""
    edit, size = pair.edit, len(picture)
    things = edit.after.things
    shifts = [(y, x) for y in SHIFTS for x in SHIFTS] if edit.action == "add" else [(0, 0)]
    shifted = [np.roll(picture, shift, (0, 1)) for shift in shifts]
    distances = {}
    for key, traits in variants.items():
        thing = replace(things[edit.new], **traits)
        scene = replace(edit.after, things=things[: edit.new] + (thing,) + things[edit.new + 1 :])
        drawn = draw(scene, size)
        distances[key] = min(error(moved, drawn, pair.edit_mask) for moved in shifted)
    return min(distances, key=distances.get)


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
        facts["color"] = _nearest(pair, picture, colors) == wanted.color
        right = right and facts["color"]
        if edit.action != "recolor":
            facts["noun"] = _nearest(pair, picture, {noun: {"noun": noun} for noun in NOUNS}) == wanted.noun
            right = right and facts["noun"]
    near = grown(mask, BORDER)
    facts["outside"] = float(np.abs(picture[~near].astype(np.float32) - untouched[~near]).mean())
    right = right and facts["outside"] < KEPT
    facts["right"] = bool(right)
    return facts
