"""Writes scenes whose instructions name an object that is there, or one that is not, for `retouch bench confidence`.

    python make_presence.py runs/presence-fit --first 1002000000
    python make_presence.py runs/presence-test --first 1003000000

Training never draws seeds from 1,000,000,000 on; the held-out scenes have those from 1,001,000,000 on. Each scene gives two lines of
manifest.jsonl: the instruction of its pair, and the same with words for something that no thing in the scene is. The key
`absent` says of which kind they are:

- `noun`: a noun that the model knows;
- `color`: a noun that is there in a color that it has not, whether another thing has the color or not;
- `word`: a noun that the model was never shown.
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image

from pairs import Pair, make_pair
from vocabulary import COLORS, NOUNS

ACTIONS = ("change", "recolor", "remove")
KINDS = ("noun", "color", "word")
UNSEEN = (
    "unicorn", "zebra", "dog", "cat", "horse", "bird", "fish", "dragon", "car", "bicycle", "boat", "airplane", "train", "chair", "table",
    "lamp", "clock", "cup", "bottle", "book", "shoe", "hat", "umbrella", "guitar", "robot", "man", "woman", "child", "king", "snowman",
    "apple", "banana", "pizza", "cake", "mushroom", "bridge", "castle", "tower", "river", "mountain",
)


def absent_words(rng: random.Random, pair: Pair, kind: str) -> str | None:
    """Returns words of a kind for something that no thing of the scene is; None where the scene leaves none."""
    things = pair.edit.before.things
    if kind == "word":
        word = rng.choice(UNSEEN)
        return word if rng.random() < 0.6 else f"{rng.choice(list(COLORS))} {word}"
    if kind == "noun":
        # What the object becomes is not there either, but an instruction that names it twice is none.
        left = [noun for noun in NOUNS if noun not in {thing.noun for thing in things} and noun not in pair.edit.replacement]
        words = rng.choice(left) if left else None
        return f"{rng.choice(list(COLORS))} {words}" if words and rng.random() < 0.4 else words
    noun = rng.choice(things).noun
    left = [color for color in COLORS if all((thing.noun, thing.color) != (noun, color) for thing in things)]
    left = [color for color in left if color not in pair.edit.replacement]
    return f"{rng.choice(left)} {noun}" if left and noun not in pair.edit.replacement else None


def lines(pair: Pair, index: int) -> list[dict[str, object]]:
    """Returns the two lines of a scene."""
    rng = random.Random(pair.seed)
    kind = KINDS[index % len(KINDS)]
    edit, (start, end) = pair.edit, pair.edit.span
    common = {"image": f"image/{index:04}.png", "action": edit.action, "things": len(edit.before.things)}
    found = [{"id": f"{index:04}-there", "instruction": edit.instruction, **common, "absent": "no", "area": pair.strata["area"]}]
    words = absent_words(rng, pair, kind)
    if words is not None:
        instruction = edit.instruction[:start] + words + edit.instruction[end:]
        found.append({"id": f"{index:04}-absent", "instruction": instruction, **common, "absent": kind})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, required=True, help="seed of the first scene")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    (args.folder / "image").mkdir(parents=True, exist_ok=True)
    made = []
    for index in range(args.count):
        pair = make_pair(args.first + index, args.size, ACTIONS[index // len(KINDS) % len(ACTIONS)])
        Image.fromarray(pair.source).save(args.folder / f"image/{index:04}.png", optimize=True)
        made += lines(pair, index)
    (args.folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made))
    print(json.dumps({"scenes": args.count, "lines": len(made)}))


if __name__ == "__main__":
    main()
