"""Edits held-out pairs with the stock pipeline and judges the results, beside floors that no judge should let pass.

    python judge.py runs/demo --out runs/judged
    python judge.py --floors --out runs/floors

The product's own benchmark is `retouch eval`; this one needs nothing but Python and guides the training.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

import seeds
import snapshot
from judging import judge
from pairs import Pair, make_pair

# Pairs of each action per hundred.
MIX = {"change": 30, "recolor": 20, "remove": 20, "add": 30}
# Radii of the blurs, in pixels of a 64-pixel picture.
BLURS = (2, 4, 8)


def held_out(count: int, size: int) -> list[Pair]:
    """Returns about `count` held-out pairs, the actions mixed by `MIX`, the same ones each time."""
    actions = [action for action, share in MIX.items() for _ in range(round(count * share / 100))]
    return [make_pair(seeds.HELD_OUT + index, size, action) for index, action in enumerate(actions)]


@torch.no_grad()
def restored(pipe, pairs: list[Pair]) -> np.ndarray:
    """Returns the sources as the autoencoder gives them back, (n, h, w, 3) uint8."""
    sources = torch.from_numpy(np.stack([pair.source for pair in pairs])).permute(0, 3, 1, 2)
    decoded = pipe.vae.decode(pipe.vae.encode(sources / 127.5 - 1).latent_dist.mode()).sample
    return ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def table(pairs: list[Pair], facts: list[dict]) -> str:
    """Returns Markdown: a row for each action and each stratum."""
    groups = {"all": lambda pair: True}
    groups |= {action: lambda pair, a=action: pair.edit.action == a for action in MIX}
    groups |= {"one or two things": lambda pair: pair.strata["things"] < 3, "three or more": lambda pair: pair.strata["things"] > 2}
    groups |= {"distractor": lambda pair: pair.strata["distractor"] != "none"}
    groups |= {name: lambda pair, n=name: pair.strata["background"] == n for name in ("plain", "cluttered")}
    groups |= {name: lambda pair, n=name: pair.strata["size"] == n for name in ("small", "medium", "large")}
    rows = ["| pairs | n | right | noun | color | median rel | outside |", "|---|---|---|---|---|---|---|"]
    for name, belongs in groups.items():
        chosen = [fact for pair, fact in zip(pairs, facts) if belongs(pair)]
        if not chosen:
            continue
        share = lambda key: [fact[key] for fact in chosen if key in fact]
        percent = lambda key: f"{100 * np.mean(share(key)):.0f} %" if share(key) else ""
        rel, outside = np.median(share("rel")), np.mean(share("outside"))
        rows.append(f"| {name} | {len(chosen)} | {percent('right')} | {percent('noun')} | {percent('color')} | {rel:.3f} | {outside:.1f} |")
    return "\n".join(rows)


def sheet(pairs: list[Pair], pictures: np.ndarray, facts: list[dict], path: Path, scale: int = 2, columns: int = 4) -> None:
    """Writes source, result, target and edit mask of every pair under its instruction; wrong ones are marked."""
    size = pairs[0].source.shape[0] * scale
    rows = -(-len(pairs) // columns)
    page = Image.new("RGB", (columns * (4 * size + 12), rows * (size + 16)), "white")
    pen = ImageDraw.Draw(page)
    for index, (pair, picture, fact) in enumerate(zip(pairs, pictures, facts)):
        mask = np.repeat(pair.edit_mask[..., None].astype(np.uint8) * 255, 3, 2)
        strip = Image.fromarray(np.concatenate([pair.source, picture, pair.target, mask], 1))
        x, y = index % columns * (4 * size + 12), index // columns * (size + 16)
        page.paste(strip.resize((4 * size, size), Image.NEAREST), (x, y + 14))
        pen.text((x + 2, y + 1), ("" if fact["right"] else "WRONG ") + pair.edit.instruction, fill="black" if fact["right"] else "red")
    page.save(path)


def floors(pairs: list[Pair]) -> dict[str, np.ndarray]:
    """Returns what must not pass: the sources untouched, and blurred."""
    blurred = lambda pair, radius: np.asarray(Image.fromarray(pair.source).filter(ImageFilter.GaussianBlur(radius)))
    made = {f"blurred by {radius}": np.stack([blurred(pair, radius) for pair in pairs]) for radius in BLURS}
    return {"untouched": np.stack([pair.source for pair in pairs]), **made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="run or snapshot folder")
    parser.add_argument("--floors", action="store_true", help="judge untouched and blurred pictures instead of a model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--text-guidance", type=float, default=4.0)
    parser.add_argument("--image-guidance", type=float, default=1.3)
    args = parser.parse_args()
    if bool(args.model) == args.floors:
        parser.error("give a model or --floors")
    args.out.mkdir(parents=True, exist_ok=True)
    pairs = held_out(args.count, args.size)
    if args.floors:
        untouched = [pair.source for pair in pairs]
        results = floors(pairs)
    else:
        architecture, pipe = snapshot.load(args.model)
        pipe.set_progress_bar_config(disable=True)
        untouched = restored(pipe, pairs)
        made = architecture.edit(pipe, pairs, args.steps, args.text_guidance, args.image_guidance)
        results = {"edited": (made * 255).round().astype(np.uint8)}
    for name, pictures in results.items():
        facts = [judge(*each) for each in zip(pairs, pictures, untouched)]
        sampling = f"{args.steps} steps, guidance {args.text_guidance:g} (text) and {args.image_guidance:g} (image)"
        if args.model and not architecture.guided_by_the_picture:
            sampling = f"{args.steps} steps, guidance {args.text_guidance:g}"
        text = f"## {name}\n\n{sampling if args.model else 'no model'}\n\n{table(pairs, facts)}\n"
        print(text)
        stem = name.replace(" ", "_")
        (args.out / f"{stem}.md").write_text(text)
        (args.out / f"{stem}.json").write_text(json.dumps([{**pair.strata, **fact} for pair, fact in zip(pairs, facts)]))
        sheet(pairs, pictures, facts, args.out / f"{stem}.png")


if __name__ == "__main__":
    main()
