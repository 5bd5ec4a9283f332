"""One hard item from its seed: pictures, exact masks, an instruction, the same about something that is not there."""

import io
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hard import grounds, scenes
from hard.edits import Edit, adding, standing
from hard.render import Style, Thing, draw, layer, visible

# A pixel belongs to the object when it covers more than this share of it; to the edit, when either thing covers this
# much of it or the picture changes by this many levels there.
OBJECT_COVERAGE = 0.5
EDIT_COVERAGE = 0.25
CHANGED = 10
# An item is redrawn where less of its object can be seen, or where it hardly differs from what is behind or beside it.
LEAST_VISIBLE = 0.55
LEAST_CONTRAST = 72
LEAST_CONTRAST_OF_OTHERS = 60
LEAST_PIXELS = 28
ACTIONS = ("change", "recolor", "remove", "add")
JPEG_QUALITY = (35, 75)
# How often scenes on photographs or textures are compressed.
COMPRESSED = 0.5
# Levels of the held-out scenes come in steps of this size, so that the files that are shipped stay small.
COARSE = 4


@dataclass(frozen=True)
class Setting:
    """What a scene's things are drawn on, and how."""

    size: tuple[int, int]
    """Width and height in pixels."""
    style: Style
    ground: grounds.Ground

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height in units of the shorter one."""
        return self.size[0] / min(self.size), self.size[1] / min(self.size)


@dataclass(frozen=True)
class Item:
    """Pictures (h, w, 3) uint8, masks (h, w) bool, and what the manifest says of them."""

    edit: Edit
    source: np.ndarray
    target: np.ndarray
    object_mask: np.ndarray
    edit_mask: np.ndarray
    jpeg: bytes | None
    """The source's file, where it is compressed."""
    strata: dict[str, object]


def _contrasts(on: Setting, ground: np.ndarray, thing: Thing, least: float) -> bool:
    """Whether a thing's color differs from the ground that it hides."""
    drawn = layer(thing, on.style, on.size)
    within = drawn.coverage > OBJECT_COVERAGE
    return within.any() and float(np.linalg.norm(drawn.color[within].mean(0) - ground[within].mean(0))) >= least


def _setting(rng: random.Random, stratum: scenes.Stratum, held_out: bool) -> Setting:
    """Draws what a scene's things are drawn on, and how."""
    size = rng.choice(scenes.WIDE) if stratum.wide else (96, 96) if rng.random() < 0.08 else (64, 64)
    kind = rng.choice(("photograph", "texture")) if rng.random() < stratum.grounded else stratum.ground
    style = scenes.style(rng, rng.choice(("outlined", "shaded")) if rng.random() < stratum.styled else stratum.style)
    return Setting(size, style, grounds.sample(rng, kind, held_out))


def _compressed(
    source: np.ndarray, target: np.ndarray, mask: np.ndarray, quality: int
) -> tuple[bytes, np.ndarray, np.ndarray, np.ndarray]:
    """Compresses both pictures; returns the source's file, both as they are read again, and the mask with what compression
    carries beyond its edge."""

    def through(picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return file.getvalue(), np.asarray(Image.open(io.BytesIO(file.getvalue())))

    (jpeg, before), (_, after) = through(source), through(target)
    return jpeg, before, after, mask | _differing(before, after)


def _differing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other).max(-1) > CHANGED


def make(seed: int, stratum_name: str, action: str, held_out: bool) -> Item:
    """Draws the item of `seed`, the same each time."""
    rng = random.Random(f"hard {seed}")
    stratum = scenes.STRATA[stratum_name]
    while (item := _tried(rng, stratum_name, stratum, action, held_out)) is None:
        pass
    return item


def _tried(rng: random.Random, name: str, stratum: scenes.Stratum, action: str, held_out: bool) -> Item | None:
    # 1. what stands where, and what is asked for
    on = _setting(rng, stratum, held_out)
    placed = scenes.place(rng, stratum, on.sides, on.ground.shows)
    if placed is None:
        return None
    things, index = placed
    if action == "add":
        edit = adding(rng, things, index, on.sides, held_out, on.ground.shows)
    else:
        edit = standing(rng, action, things, index, on.ground.shows, stratum.rivals, held_out)
    if edit is None:
        return None
    # 2. whether a person can tell
    shown, meant = (edit.after, edit.new) if action == "add" else (edit.before, edit.old)
    ground = on.ground.paint(on.size)
    edited = [shown[meant]] if edit.new is None else [shown[meant], edit.after[edit.new]]
    if not all(_contrasts(on, ground, it, LEAST_CONTRAST) for it in edited):
        return None
    if not all(_contrasts(on, ground, it, LEAST_CONTRAST_OF_OTHERS) for it in things):
        return None
    part, whole = visible(shown, meant, on.style, on.size), layer(shown[meant], on.style, on.size).coverage.sum()
    object_mask = part > OBJECT_COVERAGE
    if part.sum() < LEAST_VISIBLE * whole or object_mask.sum() < LEAST_PIXELS:
        return None
    # 3. pictures and masks
    source, target = draw(ground, edit.before, on.style), draw(ground, edit.after, on.style)
    if held_out:
        source, target = (picture // COARSE * COARSE + COARSE // 2 for picture in (source, target))
    edit_mask = _differing(source, target) | (part > EDIT_COVERAGE)
    if edit.new is not None:
        edit_mask |= visible(edit.after, edit.new, on.style, on.size) > EDIT_COVERAGE
    jpeg = None
    if on.ground.kind != "plain" and rng.random() < COMPRESSED:
        jpeg, source, target, edit_mask = _compressed(source, target, edit_mask, rng.randint(*JPEG_QUALITY))
    target = np.where(edit_mask[..., None], target, source)
    strata = {"stratum": name, **_strata(edit, on, object_mask), "jpeg": jpeg is not None}
    strata["hidden"] = bool(part.sum() < 0.97 * whole)
    return Item(edit, source, target, object_mask, edit_mask, jpeg, strata)


def _strata(edit: Edit, on: Setting, object_mask: np.ndarray) -> dict[str, object]:
    meant = edit.after[edit.new] if edit.action == "add" else edit.before[edit.old]
    others = [it for index, it in enumerate(edit.before) if index != edit.old]
    kind, color = any(it.noun == meant.noun for it in others), any(it.color == meant.color for it in others)
    twin = any((it.noun, it.color) == (meant.noun, meant.color) for it in others)
    rival = {(0, 0): "none", (1, 0): "kind", (0, 1): "color", (1, 1): "kind, color"}[kind, color]
    width, height = on.size
    return {
        "wording": "natural" if edit.natural else "model's",
        "said": "" if edit.action == "add" else edit.phrase.said,
        "rival": "same kind and color" if twin else rival,
        "style": on.style.kind,
        "ground": on.ground.kind,
        "ground_name": on.ground.name,
        "things": len(edit.before),
        "shape": "square" if width == height else "wide" if width > height else "tall",
        "cut": edit.action != "add" and not scenes.inside(replace(meant, radius=meant.radius * 0.97), on.sides),
        "noun": meant.noun,
        "color": meant.color,
        "area": round(float(object_mask.mean()), 4),
    }
