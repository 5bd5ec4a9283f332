"""Times a call of FLUX.2-klein by retouch against diffusers', on the same weights, machine and run.

    python benches/klein.py --help

The model is as wide as the published one with fewer blocks (random_klein.py), the picture of 512 pixels: 512 tokens of text, 1024
cells of latents and 1024 of the picture. Each run is a process of its own, peers in turn; a call's time is the gap between two
step reports. The dtype is bf16 where the processor has AVX512-BF16, else fp32.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import against_diffusers as edits

ROOT = edits.ROOT


def diffusers_edit(model: Path, image: Path, output: Path, steps: int, dtype: str) -> None:
    """The peer's own run, in a process of its own: its default path on this machine's CPU."""
    import torch
    from diffusers import Flux2KleinPipeline
    from PIL import Image

    said = json.loads((model / "retouch.json").read_text())
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    pipe = Flux2KleinPipeline.from_pretrained(model, torch_dtype=kind)
    pipe.set_progress_bar_config(disable=True)

    def report(_pipe, index, _timestep, tensors):
        print(json.dumps({"step": index}), flush=True)
        return tensors

    edited = pipe(
        prompt=edits.INSTRUCTION,
        image=Image.open(image),
        num_inference_steps=steps,
        max_sequence_length=said["max_sequence_length"],
        text_encoder_out_layers=tuple(said["text_encoder_out_layers"]),
        generator=torch.Generator().manual_seed(edits.SEED),
        callback_on_step_end=report,
    )
    edited.images[0].save(output)


def commands(args: argparse.Namespace, image: Path) -> dict[str, list[str]]:
    """The command of each peer."""
    out = args.out / "klein-diffusers.png"
    own = [sys.executable, __file__, "--child", "--dtype", args.dtype, "--model", args.model, "--image", image]
    shared = ["--model", args.model, "--dtype", args.dtype, "--size", "native", "--seed", edits.SEED, "--steps", args.steps]
    shared += ["--json", "--force", "--preview-every", 0]
    edit = [args.retouch, "edit", image, edits.INSTRUCTION]
    made = {
        "diffusers": [*own, "--steps", args.steps, "--out", out],
        "retouch": [*edit, "--method", "instruct-pix2pix", "-o", args.out / "klein-retouch.png", *shared],
        "retouch, gated in a box": [*edit, "--box", "25%,25%,75%,75%", "-o", args.out / "klein-gated.png", *shared],
    }
    return {name: [str(it) for it in command] for name, command in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "target" / "bench" / "random-klein", help="a snapshot; made at random if it is not there")
    parser.add_argument("--retouch", type=Path, default=ROOT / "target" / "release" / "retouch")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench")
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2, help="runs of each peer, in turn")
    parser.add_argument("--dtype", choices=edits.DTYPES, default=edits.native_dtypes()[-1])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return diffusers_edit(args.model, args.image, args.out, args.steps, args.dtype)

    args.out.mkdir(parents=True, exist_ok=True)
    if not args.model.exists():
        import random_klein

        random_klein.write_apart(args.model)
    image = args.out / "input.png"
    edits.picture(args.size, image)
    found: dict[str, edits.Figures] = {}
    for run in range(args.runs):
        for name, command in commands(args, image).items():
            print(f"run {run + 1}: {name}, {args.dtype}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
            seconds, peak = edits.timed(command, lambda line: "step" in line)
            figures = found.setdefault(name, edits.Figures())
            figures.seconds += seconds
            figures.peak = max(figures.peak, peak)
    print(f"{args.size}x{args.size} pixels, {args.steps} steps, {args.runs} runs, {os.cpu_count()} cores\n")
    print(edits.table({args.dtype: found}))
    agreement = edits.psnr(args.out / "klein-diffusers.png", args.out / "klein-retouch.png")
    print(f"\nretouch's picture against diffusers': {agreement:.1f} dB")


if __name__ == "__main__":
    main()
