"""Compares retouch with diffusers at full size: 860 M parameters with random weights, 512x512 pixels, fp32, by hand.

    python tests/full_size.py --model target/bench/random-ip2p      # `make bench` writes the model
    python tests/full_size.py --model assets/demo-model --size 64   # a quick look

Both start from the same files and the same seed: the plain pipeline's picture, the word maps of the localization pass, and a
second pass held inside a given mask. Prints a line each and ends with 1 where one is off: 50 dB for pictures, 1e-4 for maps.
The method for diffusers is the one that recorded the fixtures, `tests/record/method.py`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "record"), str(ROOT / "benches")]
from against_diffusers import picture, psnr  # noqa: E402
from method import Store, modulated, sites  # noqa: E402

INSTRUCTION = "change the red dog to a cat"
SEED, TEXT_GUIDANCE, IMAGE_GUIDANCE = 1, 7.5, 1.5
LEAST_PSNR, LARGEST_ERROR = 50.0, 1e-4


def words_of(pipe, text: str) -> list[tuple[str, list[int]]]:
    """The words of a plain text with their tokens' columns."""
    tokens = pipe.tokenizer(text, return_offsets_mapping=True)
    found, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        end = start + len(word)
        found.append((word, [i for i, (a, b) in enumerate(tokens["offset_mapping"]) if a < end and start < b]))
        start = end
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--retouch", type=Path, default=ROOT / "target" / "release" / "retouch")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "full-size")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    image_path = args.out / "input.png"
    picture(args.size, image_path)
    box = [args.size // 4, args.size // 3, args.size // 2, args.size * 3 // 4]

    # 1. retouch.
    def retouch(command: str, *more: object) -> None:
        shared = ["--model", args.model, "--dtype", "fp32", "--size", "native", "--seed", SEED, "--force"]
        shared += ["--text-guidance", TEXT_GUIDANCE, "--image-guidance", IMAGE_GUIDANCE]
        line = [args.retouch, command, image_path, INSTRUCTION, *shared, *more]
        subprocess.run([str(it) for it in line], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    retouch("edit", "--method", "instruct-pix2pix", "--steps", args.steps, "-o", args.out / "plain.png")
    given = ["--box", ",".join(map(str, box)), "--modulation", "gate", "--preserve", "none"]
    retouch("edit", *given, "--steps", args.steps, "-o", args.out / "gate.png")
    retouch("localize", "--localize-steps", args.steps, "-o", args.out / "mask.png", "--save", args.out / "found.json")
    found = json.loads((args.out / "found.json").read_text())

    # 2. diffusers.
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(args.model, dtype=torch.float32, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    unet = pipe.unet
    plain = dict(unet.attn_processors)
    image = Image.open(image_path)

    @torch.no_grad()
    def call(text: str) -> Image.Image:
        generator = torch.Generator().manual_seed(SEED)
        scales = {"guidance_scale": TEXT_GUIDANCE, "image_guidance_scale": IMAGE_GUIDANCE}
        return pipe(text, image=image, num_inference_steps=args.steps, generator=generator, **scales).images[0]

    call(INSTRUCTION).save(args.out / "plain-diffusers.png")
    mask = torch.zeros(1, 1, args.size, args.size)
    mask[..., box[1] : box[3], box[0] : box[2]] = 1
    side = args.size // pipe.vae_scale_factor
    unet.set_attn_processor(modulated(unet, plain, "gate", mask, (side, side)))
    call(INSTRUCTION).save(args.out / "gate-diffusers.png")
    kept: list[torch.Tensor] = []
    grid = found["words"][0]["grid"]
    level = round(np.log2(side / max(grid)))
    watched = {n: Store(kept) for n, (stage, kind, at) in sites(unet).items() if stage != "mid" and (kind, at) == ("cross", level)}
    unet.set_attn_processor({**plain, **watched})
    call(found["instruction"])
    icam = torch.stack(kept).mean(0)

    # 3. Side by side.
    right = True
    for name in ("plain", "gate"):
        value = psnr(args.out / f"{name}.png", args.out / f"{name}-diffusers.png")
        right &= value >= LEAST_PSNR
        print(f"{name} edit: {value:.1f} dB")
    worst = 0.0
    for (word, columns), own in zip(words_of(pipe, found["instruction"]), found["words"], strict=True):
        assert word == own["word"], (word, own["word"])
        reference = icam[:, columns].mean(1)
        error = (torch.tensor(own["values"]) - reference).abs().max() / reference.abs().max()
        worst = max(worst, float(error))
    right &= worst <= LARGEST_ERROR
    print(f"word maps: {worst:.1e}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
