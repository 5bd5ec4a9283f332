"""Times retouch against diffusers on the same weights, machine and run, and compares the pictures that both make.

    python benches/against_diffusers.py --help

Each run is a process of its own, peers in turn. A step's time is the gap between two step reports as they arrive, so all that a
step costs is in it; the first step of a run warms up and is left out. Peak memory is the process's largest resident set.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTION = "change the dog to a cat"
SEED = 1
TEXT_GUIDANCE, IMAGE_GUIDANCE = 7.5, 1.5
DTYPES = ("fp32", "bf16")


@dataclass
class Figures:
    """What the runs of one peer gave."""

    seconds: list[float] = field(default_factory=list)
    """Of each step but the first of its run."""
    peak: float = 0.0
    """Largest resident set, MiB."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def native_dtypes() -> tuple[str, ...]:
    """fp32, and bf16 with AVX512-BF16: elsewhere on x86-64 it would take many times as long."""
    import torch

    return DTYPES if torch.cpu._is_avx512_bf16_supported() else DTYPES[:1]


def timed(command: list[str], is_step) -> tuple[list[float], float]:
    """Runs a command that reports steps as lines; returns the seconds between them and its peak memory in MiB."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stamps = [time.perf_counter() for line in child.stdout if is_step(json.loads(line))]
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return [after - before for before, after in zip(stamps, stamps[1:])], usage.ru_maxrss / 1024


def picture(size: int, path: Path) -> None:
    """A picture with structure at every scale, the same on every machine."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    red = 127 + 90 * np.sin(x / 37) * np.cos(y / 53)
    green = 255 * ((x // 48 + y // 32) % 2) * 0.6 + 40
    blue = 255 * np.exp(-(((x - size / 3) ** 2 + (y - size / 2) ** 2) / (size * size / 18)))
    Image.fromarray(np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8)).save(path)


def psnr(one: Path, other: Path) -> float:
    """Peak signal-to-noise ratio of two pictures in dB."""
    a, b = (np.asarray(Image.open(it).convert("RGB"), np.float64) for it in (one, other))
    error = np.square(a - b).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def diffusers_edit(model: Path, image: Path, output: Path, steps: int, dtype: str) -> None:
    """The peer's own run, in a process of its own: its default path on this machine's CPU.

    Its noise is drawn in fp32 and cast, as retouch does, so that the pictures can be compared in bf16 too.
    """
    import torch
    from diffusers import StableDiffusionInstructPix2PixPipeline
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_instruct_pix2pix as pipeline
    from diffusers.schedulers import scheduling_euler_ancestral_discrete as scheduler

    for module in (pipeline, scheduler):
        module.randn_tensor = lambda shape, generator, device, dtype: torch.randn(shape, generator=generator).to(dtype)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(model, dtype=kind, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)

    def report(_pipe, index, _timestep, tensors):
        print(json.dumps({"step": index}), flush=True)
        return tensors

    edited = pipe(
        INSTRUCTION,
        image=Image.open(image),
        num_inference_steps=steps,
        guidance_scale=TEXT_GUIDANCE,
        image_guidance_scale=IMAGE_GUIDANCE,
        generator=torch.Generator().manual_seed(SEED),
        callback_on_step_end=report,
    )
    edited.images[0].save(output)


def commands(args: argparse.Namespace, dtype: str, image: Path) -> dict[str, list[str]]:
    """The command of each peer."""
    out = args.out / f"diffusers-{dtype}.png"
    own = [sys.executable, __file__, "--child", dtype, "--model", args.model, "--image", image, "--steps", args.steps, "--out", out]
    shared = ["--model", args.model, "--dtype", dtype, "--size", "native", "--seed", SEED, "--json", "--force"]
    shared += ["--text-guidance", TEXT_GUIDANCE, "--image-guidance", IMAGE_GUIDANCE]
    plain = [args.retouch, "edit", image, INSTRUCTION, "--method", "instruct-pix2pix", "--steps", args.steps]
    localize = [args.retouch, "localize", image, INSTRUCTION, "--localize-steps", args.steps]
    made = {
        "diffusers": own,
        "retouch": [*plain, "-o", args.out / f"retouch-{dtype}.png", *shared],
        "retouch, localizing": [*localize, "-o", args.out / f"mask-{dtype}.png", *shared],
    }
    return {name: [str(it) for it in command] for name, command in made.items()}


def table(found: dict[str, dict[str, Figures]]) -> str:
    lines = ["| dtype | run | s/step, median (min-max) | against diffusers | peak memory, MiB | against diffusers |", "|---|---|---|---|---|---|"]
    for dtype, peers in found.items():
        anchor = peers["diffusers"]
        for name, it in peers.items():
            spread = f"{it.median:.2f} ({min(it.seconds):.2f}-{max(it.seconds):.2f})"
            ratios = f"{it.median / anchor.median:.2f} | {it.peak:.0f} | {it.peak / anchor.peak:.2f}"
            lines.append(f"| {dtype} | {name} | {spread} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "target" / "bench" / "random-ip2p", help="a snapshot; made at random if it is not there")
    parser.add_argument("--retouch", type=Path, default=ROOT / "target" / "release" / "retouch")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench")
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2, help="runs of each peer, in turn")
    parser.add_argument("--dtypes", choices=DTYPES, nargs="+", default=native_dtypes(), help="default: fp32, and bf16 with AVX512-BF16")
    parser.add_argument("--child", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return diffusers_edit(args.model, args.image, args.out, args.steps, args.child)

    args.out.mkdir(parents=True, exist_ok=True)
    if not args.model.exists():
        import random_model

        random_model.write_apart(args.model)
    image = args.out / "input.png"
    picture(args.size, image)
    found = {dtype: {} for dtype in args.dtypes}
    for run in range(args.runs):
        for dtype in args.dtypes:
            for name, command in commands(args, dtype, image).items():
                print(f"run {run + 1}: {name}, {dtype}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
                seconds, peak = timed(command, lambda line: "step" in line)
                figures = found[dtype].setdefault(name, Figures())
                figures.seconds += seconds
                figures.peak = max(figures.peak, peak)
    agreement = {dtype: psnr(args.out / f"diffusers-{dtype}.png", args.out / f"retouch-{dtype}.png") for dtype in args.dtypes}
    print(f"{args.size}x{args.size} pixels, {args.steps} steps, {args.runs} runs, {os.cpu_count()} cores\n\n{table(found)}\n")
    print("retouch's picture against diffusers': " + ", ".join(f"{dtype} {value:.1f} dB" for dtype, value in agreement.items()))
    record = {dtype: {name: vars(it) for name, it in peers.items()} for dtype, peers in found.items()}
    settings = {"size": args.size, "steps": args.steps, "runs": args.runs, "cores": os.cpu_count()}
    (args.out / "against_diffusers.json").write_text(json.dumps({**settings, "psnr": agreement, "figures": record}, indent=2))


if __name__ == "__main__":
    main()
