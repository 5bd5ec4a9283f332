"""Writes held-out scenes as a manifest that `retouch eval` reads: pictures, exact masks and exact targets as PNG files.

    python make_heldout.py ../../assets/heldout
    python make_heldout.py runs/emoji-heldout --preset emoji                        # its own style and photographs
    python make_heldout.py runs/emoji-kind --preset emoji --first 1000500000        # unseen seeds, those of the training

Each line of manifest.jsonl has `id, image, instruction, action, object, mask, target` (paths relative to it; white = edit) and,
for tables by stratum, what makes the scene hard. `mask` is every pixel that the edit needs, the old object's and the new
one's; `object_mask` is the object alone, as it stands in the source (for `add`: as it appears in the target).
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import seeds
from data import draw
from models import PRESETS
from pairs import Pair

# Scenes of each action.
COUNTS = {"change": 64, "recolor": 44, "remove": 44, "add": 48}
# Seeds from here on are for this set alone: neither training nor tuning sees them.
FIRST_SEED = seeds.HELD_OUT_SETS
# What the set must hold: least shares of scenes, least number of nouns, largest area of an object.
LEAST = {"three or more things": 0.50, "a distractor": 0.40, "a cluttered background": 0.30}
LEAST_NOUNS = 8
LARGEST_AREA = 0.20


def check(pairs: list[Pair]) -> dict[str, float]:
    """Returns the shares of `LEAST`; raises ValueError where the set falls short."""
    strata = [pair.strata for pair in pairs]
    shares = {
        "three or more things": np.mean([s["things"] >= 3 for s in strata]),
        "a distractor": np.mean([s["distractor"] != "none" for s in strata]),
        "a cluttered background": np.mean([s["background"] == "cluttered" for s in strata]),
    }
    short = [name for name, least in LEAST.items() if shares[name] < least]
    if short or len({s["noun"] for s in strata}) < LEAST_NOUNS or max(s["area"] for s in strata) > LARGEST_AREA:
        raise ValueError(f"the held-out set is too easy: {shares}")
    return {name: round(float(share), 3) for name, share in shares.items()}


def write(pair: Pair, name: str, folder: Path) -> dict[str, object]:
    """Writes one scene's files and returns its line of the manifest."""
    layers = {
        "image": pair.source,
        "target": pair.target,
        "mask": pair.edit_mask.astype(np.uint8) * 255,
        "object_mask": pair.object_mask.astype(np.uint8) * 255,
    }
    paths = {key: f"{key}/{name}.png" for key in layers}
    for key, layer in layers.items():
        (folder / key).mkdir(exist_ok=True)
        Image.fromarray(layer).save(folder / paths[key], optimize=True)
    edit = pair.edit
    line = {"id": name, "instruction": edit.instruction, "action": edit.action, "object": edit.object, **paths}
    return {**line, "object_span": edit.span, "replacement": edit.replacement, "place": edit.place, "seed": pair.seed, **pair.strata}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="shapes")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first scene")
    args = parser.parse_args()
    actions = [action for action, count in COUNTS.items() for _ in range(count)]
    preset = PRESETS[args.preset]
    pairs = [draw(preset, args.first + index, action) for index, action in enumerate(actions)]
    shares = check(pairs) if args.preset == "shapes" else {}
    args.folder.mkdir(parents=True, exist_ok=True)
    lines = [write(pair, f"{pair.edit.action}-{index:03}", args.folder) for index, pair in enumerate(pairs)]
    (args.folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(json.dumps({"scenes": len(pairs), **shares, "things": dict(sorted(Counter(p.strata["things"] for p in pairs).items()))}))


if __name__ == "__main__":
    main()
