"""Writes hard scenes for `retouch eval` and `retouch bench confidence`: pictures, exact masks, exact targets.

    python photographs.py runs/photographs                            # once
    python make_hard.py runs/hard-tune --count 400                    # to tune on
    python make_hard.py runs/hard-presence --count 200 --first 5000   # others, as many as are asked for
    python make_hard.py ../../assets/heldout-hard --held-out          # the 300 held-out ones: never to tune on

manifest.jsonl has a line for each scene, in which `stratum` says what is hard about it. presence.jsonl names in each
picture the object that is there, and one that is not (`absent`: `noun`, `color` or `word`, as in make_presence.py).
"""

import argparse
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import seeds
from hard.items import ACTIONS, Item, make
from hard.scenes import STRATA

HELD_OUT_COUNT = 300


def plan(count: int) -> list[tuple[str, str]]:
    """Returns stratum and action of each of `count` scenes: all strata, and in each all actions, equally often."""
    names = list(STRATA)
    return [(names[index % len(names)], ACTIONS[index // len(names) % len(ACTIONS)]) for index in range(count)]


def _file(picture: np.ndarray) -> bytes:
    """Returns a picture as WebP without loss: smaller than PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=50, method=4, exact=True)
    return file.getvalue()


def _mask(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG", optimize=True)
    return file.getvalue()


def write(item: Item, name: str, seed: int, folder: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Writes a scene's files; returns its line of manifest.jsonl and its lines of presence.jsonl."""
    edit = item.edit
    files = {
        "image": ("jpg" if item.jpeg else "webp", item.jpeg or _file(item.source)),
        "target": ("webp", _file(item.target)),
        "mask": ("png", _mask(item.edit_mask)),
        "object_mask": ("png", _mask(item.object_mask)),
    }
    paths = {key: f"{key}/{name}.{suffix}" for key, (suffix, _) in files.items()}
    for key, (_, content) in files.items():
        (folder / key).mkdir(parents=True, exist_ok=True)
        (folder / paths[key]).write_bytes(content)
    told = {"instruction": edit.instruction, "action": edit.action, "object": edit.phrase.name}
    line = {
        "id": name,
        **told,
        **paths,
        "replacement": edit.replacement,
        "place": edit.place,
        "seed": seed,
        **item.strata,
    }
    presence = []
    if edit.absent:
        kept = ("image", "action", "stratum", "wording", "ground")
        common = {key: line[key] for key in kept}
        there = {"instruction": edit.instruction, "object": edit.phrase.name, "object_mask": paths["object_mask"]}
        presence.append({"id": f"{name}-there", **there, **common, "absent": "no"})
        absent = {"instruction": edit.absent.instruction, "object": edit.absent.words}
        presence.append({"id": f"{name}-absent", **absent, **common, "absent": edit.absent.kind})
    return line, presence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=HELD_OUT_COUNT)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--held-out", action="store_true", help="the held-out scenes")
    args = parser.parse_args()
    start = seeds.HARD_HELD_OUT if args.held_out else seeds.HARD_TUNING + args.first
    lines, presence = [], []
    for index, (stratum, action) in enumerate(plan(args.count)):
        item = make(start + index, stratum, action, args.held_out)
        line, more = write(item, f"{stratum.split()[0]}-{action}-{index:03}", start + index, args.folder)
        lines.append(line)
        presence += more
    for name, written in (("manifest", lines), ("presence", presence)):
        (args.folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    counted = {
        key: dict(Counter(str(line[key]) for line in lines))
        for key in ("stratum", "action", "wording", "said", "rival", "ground", "style")
    }
    print(json.dumps({"scenes": len(lines), "presence": len(presence), **counted}, indent=1))


if __name__ == "__main__":
    main()
