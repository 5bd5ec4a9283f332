"""Training pairs: source picture, instruction, exact target picture and exact masks, each made from its seed alone."""

import random
from dataclasses import dataclass, replace

import numpy as np

from edits import Edit, sample_edit
from render import draw, visible
from scenes import Scene

# A pixel belongs to a mask when the thing covers more than this share of it.
OBJECT_COVERAGE = 0.5
EDIT_COVERAGE = 0.25
# An edit is redrawn when less than this share of its thing can be seen.
LEAST_VISIBLE = 0.7


@dataclass(frozen=True)
class Pair:
    """One edit with its pictures, (size, size, 3) uint8, and masks, (size, size) bool."""

    seed: int
    edit: Edit
    source: np.ndarray
    target: np.ndarray
    object_mask: np.ndarray
    """The object as it stands in the source; for `add`, as it appears in the target."""
    edit_mask: np.ndarray
    """Every pixel that the edit needs: the old object and the new one."""
    strata: dict[str, object]


def _shown_share(scene: Scene, index: int, size: int) -> float:
    """Returns how much of a thing is not hidden by things in front of it, 0..1."""
    alone = visible(replace(scene, things=(scene.things[index],)), 0, size)
    return float(visible(scene, index, size).sum() / alone.sum())


def strata(edit: Edit, object_mask: np.ndarray, shown: float) -> dict[str, object]:
    """Returns what makes a pair hard: number of things, distractors, background, size, how much is not hidden."""
    meant = edit.after.things[edit.new] if edit.old is None else edit.before.things[edit.old]
    others = [thing for index, thing in enumerate(edit.before.things) if index != edit.old]
    kind = any(other.noun == meant.noun for other in others)
    color = any(other.color == meant.color for other in others)
    return {
        "things": len(edit.before.things),
        "distractor": {(0, 0): "none", (1, 0): "kind", (0, 1): "color", (1, 1): "both"}[kind, color],
        "background": edit.before.background,
        "size": meant.size or "medium",
        "noun": meant.noun,
        "color": meant.color,
        "area": round(float(object_mask.mean()), 4),
        "shown": round(shown, 3),
    }


def make_pair(seed: int, size: int, action: str | None = None) -> Pair:
    """Draws the pair of `seed`, the same each time. `size` is the pictures' side in pixels."""
    rng = random.Random(seed)
    while True:
        edit = sample_edit(rng, action)
        scene, index = (edit.after, edit.new) if edit.old is None else (edit.before, edit.old)
        share = _shown_share(scene, index, size)
        if share >= LEAST_VISIBLE:
            break
    shown = [visible(scene, index, size)]
    if edit.old is not None and edit.new is not None:
        shown.append(visible(edit.after, edit.new, size))
    object_mask = shown[0] > OBJECT_COVERAGE
    return Pair(
        seed=seed,
        edit=edit,
        source=draw(edit.before, size),
        target=draw(edit.after, size),
        object_mask=object_mask,
        edit_mask=np.max(shown, 0) > EDIT_COVERAGE,
        strata=strata(edit, object_mask, share),
    )
