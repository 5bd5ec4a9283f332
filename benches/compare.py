"""Times retouch against other engines for the same weights on the same machine, in one run, and says how far the machine's limit is.

    make bench        # or: python benches/compare.py --help

Engines are processes that wait for requests (`benches/engine`, `benches/peers.py`) and are asked in turn, in alternating order.
A step is one U-Net call for the three rows of guidance. Every ratio is to diffusers' eager bf16 unless it says otherwise.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np

import against_diffusers as edits
from engines import Engine, ratio, rounds, spread
from plot import draw

ROOT = Path(__file__).resolve().parent.parent
FLOP = {256: 0.540e12, 512: 2.410e12}
"""Operations of a step (torch.utils.flop_counter, a product and its sum being two)."""
GRIDS = [(4096, 40, 5), (1024, 80, 5), (256, 160, 5), (64, 160, 1)]
"""Queries, head size and number of transformers of each grid at 512 px."""
ATTENTION = [(queries, keys, dim, count) for queries, dim, count in GRIDS for keys in (queries, 77)]
ENGINE = ["cargo", "bench", "--quiet", "--locked", "--manifest-path", ROOT / "Cargo.toml", "--bench", "engine", "--"]
TIMESTEPS, SEEDS = (981, 501, 21), (0, 1, 2)


def start(args: argparse.Namespace, name: str, dtype: str = "bf16") -> Engine:
    print(f"starting {name}, {dtype}", file=sys.stderr)
    if name == "retouch":
        return Engine([*ENGINE, args.model.resolve(), dtype])
    return Engine([sys.executable, Path(__file__).with_name("peers.py"), name, args.model, dtype])


def errors(args: argparse.Namespace) -> dict[str, float]:
    """Distance of each engine's bf16 noise to fp32's, relative to fp32's, mean over timesteps and seeds."""
    import torch
    from safetensors.torch import load_file, save_file

    cases = [(seed, timestep) for seed in SEEDS for timestep in TIMESTEPS]
    draw_of = [torch.Generator().manual_seed(seed) for seed, _ in cases]
    inputs = {
        "sample": torch.stack([torch.randn(3, 8, 32, 32, generator=it) for it in draw_of]),
        "prompts": torch.stack([torch.randn(3, 77, 768, generator=it) for it in draw_of]),
        "timesteps": torch.tensor([float(timestep) for _, timestep in cases]),
    }
    save_file(inputs, args.out / "cases.safetensors")
    noise = {}
    for name, dtype in [("diffusers", "fp32"), ("diffusers", "bf16"), ("retouch", "bf16"), *[(it, "bf16") for it in args.others]]:
        engine = start(args, name, dtype)
        output = args.out / f"noise-{name}-{dtype}.safetensors"
        engine.ask("forward", input=str(args.out / "cases.safetensors"), output=str(output))
        engine.close()
        noise[name, dtype] = load_file(output)["noise"].double()
    exact = noise.pop(("diffusers", "fp32"))
    norm = lambda it: it.flatten(1).norm(dim=1)  # noqa: E731
    return {name: (norm(it - exact) / norm(exact)).mean().item() for (name, _), it in noise.items()}


def whole_edits(args: argparse.Namespace) -> dict:
    """Peak memory of one edit as a user runs it, by either, at 512 px, and how alike the pictures are."""
    image = args.out / "input.png"
    edits.picture(512, image)
    found = {}
    for name, command in edits.commands(args, "bf16", image).items():
        _, found[name] = edits.timed(command, lambda line: "step" in line)
    agreement = edits.psnr(args.out / "diffusers-bf16.png", args.out / "retouch-bf16.png")
    return {"peak_mib": found, "psnr": agreement}


def measure(args: argparse.Namespace) -> dict:
    """Everything, as it is written to `compare.json`, where each part lands as soon as it is known."""
    names = ["diffusers", "retouch", *args.others]
    engines = {name: start(args, name) for name in names}
    found: dict = {"cores": os.cpu_count(), "load": {name: it.loaded for name, it in engines.items()}}
    save = lambda: (args.out / "compare.json").write_text(json.dumps(found, indent=2))  # noqa: E731
    found["peak_gflops"] = max(engines["retouch"].ask("peak")["gflops"] or 0.0 for _ in range(3))

    found["step"] = {}
    for pixels in args.sizes:
        # torch.compile takes minutes to compile each size.
        asked = {name: it for name, it in engines.items() if name != "compile" or pixels == min(args.sizes)}
        steps = {name: lambda it=it: it.ask("step", pixels=pixels, guest="none") for name, it in asked.items()}
        found["step"][pixels] = rounds(args.samples, steps)
        save()
    for name in args.others:
        engines.pop(name).close()

    ours = engines["retouch"]
    guests = {guest: lambda guest=guest: ours.ask("step", pixels=256, guest=guest) for guest in ("none", "localize", "gate")}
    found["guests"] = rounds(args.pairs, guests)
    save()
    found["vae"] = {}
    for pixels in args.sizes:
        for run in ("encode", "decode"):
            runs = {name: lambda it=it: it.ask(run, pixels=pixels) for name, it in engines.items()}
            found["vae"][f"{run} {pixels}"] = rounds(args.samples, runs)
    found["attention"] = {}
    for queries, keys, dim, count in ATTENTION:
        samples = [ours.ask("attention", queries=queries, keys=keys, dim=dim) for _ in range(1 + args.samples)][1:]
        found["attention"][f"{queries}x{keys}x{dim}"] = {
            "own": [it["own"] for it in samples],
            "libtorch": [it["libtorch"] for it in samples],
            "operations": samples[0]["operations"],
            "layers": count,
        }
    for engine in engines.values():
        engine.close()
    save()
    found["error"] = errors(args)
    save()
    found["edit"] = whole_edits(args)
    save()
    return found


def report(found: dict) -> str:
    """The tables of the README."""
    lines = ["| step | s, median (min-max) | ratio to diffusers | 95 % | share of the limit |", "|---|---|---|---|---|"]
    for pixels, engines in found["step"].items():
        limit = FLOP[int(pixels)] / (found["peak_gflops"] * 1e9)
        for name, samples in engines.items():
            it = ratio(samples, engines["diffusers"])
            reached = limit / statistics.median(samples)
            lines.append(f"| {name}, {pixels} px | {spread(samples)} | {it['ratio']:.2f} | {it['low']:.2f}-{it['high']:.2f} | {reached:.2f} |")
    lines += ["", "| retouch against itself or a peer | ratio | 95 % |", "|---|---|---|"]
    for guest, label in (("localize", "localizing step / plain step"), ("gate", "gated step / plain step")):
        it = ratio(found["guests"][guest], found["guests"]["none"])
        lines.append(f"| {label}, 256 px, {len(found['guests']['none'])} pairs | {it['ratio']:.3f} | {it['low']:.3f}-{it['high']:.3f} |")
    for run, engines in found["vae"].items():
        it = ratio(engines["retouch"], engines["diffusers"])
        lines.append(f"| VAE {run} px / diffusers | {it['ratio']:.2f} | {it['low']:.2f}-{it['high']:.2f} |")
    for shape, it in found["attention"].items():
        own = it["operations"] / statistics.median(it["own"]) / 1e9
        value = ratio(it["own"], it["libtorch"])
        lines.append(f"| attention {shape} ({own:.0f} GFLOP/s) / libtorch | {value['ratio']:.2f} | {value['low']:.2f}-{value['high']:.2f} |")
    layers = found["attention"].values()
    own, libtorch = (np.sum([it["layers"] * np.array(it[of]) for it in layers], 0) for of in ("own", "libtorch"))
    value = ratio(list(own), list(libtorch))
    lines.append(f"| attention, all layers of a step at 512 px ({np.median(own):.2f} s) / libtorch | {value['ratio']:.2f} | {value['low']:.2f}-{value['high']:.2f} |")
    loads = {name: it["memory"]["highest"] for name, it in found["load"].items()}
    lines.append(f"| peak memory, load ({loads['retouch']:.0f} MiB) / diffusers | {loads['retouch'] / loads['diffusers']:.2f} | |")
    peaks = found["edit"]["peak_mib"]
    for name in ("retouch", "retouch, localizing"):
        lines.append(f"| peak memory, {name}, 512 px ({peaks[name]:.0f} MiB) / diffusers | {peaks[name] / peaks['diffusers']:.2f} | |")
    for name, error in found["error"].items():
        lines.append(f"| error of bf16 to fp32, {name} ({error:.4f}) / diffusers | {error / found['error']['diffusers']:.2f} | |")
    lines += ["", f"{found['cores']} cores; limit of bf16 products from registers {found['peak_gflops']:.0f} GFLOP/s;"]
    lines[-1] += f" retouch's picture against diffusers' {found['edit']['psnr']:.1f} dB"
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retouch", type=Path, default=ROOT / "target" / "release" / "retouch")
    parser.add_argument("--model", type=Path, default=ROOT / "target" / "bench" / "random-ip2p", help="a snapshot; made at random if it is not there")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], choices=sorted(FLOP), help="sides of the picture in pixels")
    parser.add_argument("--samples", type=int, default=5, help="samples of each engine")
    parser.add_argument("--pairs", type=int, default=30, help="samples of ratios near 1")
    parser.add_argument("--others", nargs="*", default=None, choices=["compile", "openvino"], help="peers besides diffusers; those that are installed")
    args = parser.parse_args()
    if args.others is None:
        args.others = ["compile", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    args.steps = 2
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.model.exists():
        import random_model

        random_model.write_apart(args.model)
    found = measure(args)
    draw(found, FLOP, args.out / "compare.png")
    print(report(found))


if __name__ == "__main__":
    main()
