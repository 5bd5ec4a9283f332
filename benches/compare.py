"""Times retouch against other engines for the same weights on the same machine, in one run, and says how far the machine's limit is.

    make bench        # or: python benches/compare.py --help

Engines are processes that wait for requests (`benches/engine`, `benches/peers.py`) and are asked in turn, in alternating order.
A step is one U-Net call for the three rows of guidance. Every ratio is to diffusers' eager mode in the same dtype
unless it says otherwise; the dtype is bf16 where the processor has AVX512-BF16, else fp32.
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
GUESTS = {"localize": "localizing", "gate": "gated"}
TIMESTEPS, SEEDS = (981, 501, 21), (0, 1, 2)


def start(args: argparse.Namespace, name: str, dtype: str | None = None) -> Engine:
    dtype = dtype or args.dtype
    print(f"starting {name}, {dtype}", file=sys.stderr)
    if name == "retouch":
        return Engine([*ENGINE, args.model.resolve(), dtype])
    return Engine([sys.executable, Path(__file__).with_name("peers.py"), name, args.model, dtype])


def errors(args: argparse.Namespace) -> dict[str, float]:
    """Distance of each engine's noise to that of diffusers in fp32, relative to the latter, mean over timesteps and seeds."""
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
    measured = [(it, args.dtype) for it in ("diffusers", "retouch", *args.others)]
    for name, dtype in dict.fromkeys([("diffusers", "fp32"), *measured]):
        engine = start(args, name, dtype)
        output = args.out / f"noise-{name}-{dtype}.safetensors"
        engine.ask("forward", input=str(args.out / "cases.safetensors"), output=str(output))
        engine.close()
        noise[name, dtype] = load_file(output)["noise"].double()
    exact = noise["diffusers", "fp32"]
    norm = lambda it: it.flatten(1).norm(dim=1)  # noqa: E731
    return {it[0]: (norm(noise[it] - exact) / norm(exact)).mean().item() for it in measured}


def whole_edits(args: argparse.Namespace) -> dict:
    """Peak memory of one edit as a user runs it, by either, at 512 px, and how alike the pictures are."""
    image = args.out / "input.png"
    edits.picture(512, image)
    found = {}
    for name, command in edits.commands(args, args.dtype, image).items():
        _, found[name] = edits.timed(command, lambda line: "step" in line)
    agreement = edits.psnr(*(args.out / f"{name}-{args.dtype}.png" for name in ("diffusers", "retouch")))
    return {"peak_mib": found, "psnr": agreement}


def measure(args: argparse.Namespace, found: dict) -> None:
    """Adds everything to `found`, as it is written to `compare.json`, where each part lands as soon as it is known."""
    names = ["diffusers", "retouch", *args.others]
    engines = {name: start(args, name) for name in names}
    found |= {"cores": os.cpu_count(), "dtype": args.dtype, "load": {name: it.loaded for name, it in engines.items()}}
    save = lambda: (args.out / "compare.json").write_text(json.dumps(found, indent=2))  # noqa: E731
    peaks = [engines["retouch"].ask("peak")["gflops"] for _ in range(3)]
    found["peak_gflops"] = None if None in peaks else max(peaks)

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
    guests = {guest: lambda guest=guest: ours.ask("step", pixels=256, guest=guest) for guest in ("none", *GUESTS)}
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


def report(found: dict) -> str:
    """The tables of docs/performance.md, of those parts that are known."""
    dtype, peak = found["dtype"], found["peak_gflops"]
    lines = [f"| step in {dtype} | s, median (min-max) | ratio to diffusers | 95 % | share of the limit |", "|---|---|---|---|---|"]
    for pixels, engines in found["step"].items():
        for name, samples in engines.items():
            it = ratio(samples, engines["diffusers"])
            reached = f"{FLOP[int(pixels)] / (peak * 1e9) / statistics.median(samples):.2f}" if peak else ""
            lines.append(f"| {name}, {pixels} px | {spread(samples)} | {it['ratio']:.2f} | {it['low']:.2f}-{it['high']:.2f} | {reached} |")
    lines += ["", "| retouch against itself or a peer | ratio | 95 % |", "|---|---|---|"]
    guests = found.get("guests", {})
    for guest in [it for it in guests if it != "none"]:
        it = ratio(guests[guest], guests["none"])
        lines.append(f"| {GUESTS[guest]} step / plain step, 256 px, {len(guests['none'])} pairs | {it['ratio']:.3f} | {it['low']:.3f}-{it['high']:.3f} |")
    for run, engines in found.get("vae", {}).items():
        it = ratio(engines["retouch"], engines["diffusers"])
        lines.append(f"| VAE {run} px / diffusers | {it['ratio']:.2f} | {it['low']:.2f}-{it['high']:.2f} |")
    lines += attention_lines(found.get("attention", {}))
    loads = {name: it["memory"]["highest"] for name, it in found["load"].items()}
    lines.append(f"| peak memory, load ({loads['retouch']:.0f} MiB) / diffusers | {loads['retouch'] / loads['diffusers']:.2f} | |")
    peaks = found.get("edit", {}).get("peak_mib", {})
    for name in [it for it in peaks if it != "diffusers"]:
        lines.append(f"| peak memory, {name}, 512 px ({peaks[name]:.0f} MiB) / diffusers | {peaks[name] / peaks['diffusers']:.2f} | |")
    for name, error in found.get("error", {}).items():
        if dtype == "bf16":
            lines.append(f"| error of bf16 to fp32, {name} ({error:.4f}) / diffusers | {error / found['error']['diffusers']:.2f} | |")
        elif name != "diffusers":
            lines.append(f"| distance of the noise, {name} / diffusers | {error:.1e} | |")
    notes = [f"{found['cores']} cores"]
    if peak:
        notes.append(f"limit of {dtype} products from registers {peak:.0f} GFLOP/s")
    if "edit" in found:
        notes.append(f"retouch's picture against diffusers' {found['edit']['psnr']:.1f} dB")
    lines += ["", "; ".join(notes)]
    return "\n".join(lines)


def attention_lines(found: dict) -> list[str]:
    """A line for each shape of retouch's own kernel, and one for all of a step; none where the processor has no use for it."""
    if not found or any(None in it["own"] for it in found.values()):
        return []
    lines = []
    for shape, it in found.items():
        own = it["operations"] / statistics.median(it["own"]) / 1e9
        value = ratio(it["own"], it["libtorch"])
        lines.append(f"| attention {shape} ({own:.0f} GFLOP/s) / libtorch | {value['ratio']:.2f} | {value['low']:.2f}-{value['high']:.2f} |")
    own, libtorch = (np.sum([it["layers"] * np.array(it[of]) for it in found.values()], 0) for of in ("own", "libtorch"))
    value = ratio(own, libtorch)
    lines.append(f"| attention, all layers of a step at 512 px ({np.median(own):.2f} s) / libtorch | {value['ratio']:.2f} | {value['low']:.2f}-{value['high']:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retouch", type=Path, default=ROOT / "target" / "release" / "retouch")
    parser.add_argument("--model", type=Path, default=ROOT / "target" / "bench" / "random-ip2p", help="a snapshot; made at random if it is not there")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], choices=sorted(FLOP), help="sides of the picture in pixels")
    parser.add_argument("--samples", type=int, default=5, help="samples of each engine")
    parser.add_argument("--pairs", type=int, default=30, help="samples of ratios near 1")
    parser.add_argument("--others", nargs="*", default=None, choices=["compile", "openvino"], help="peers besides diffusers; those that are installed")
    parser.add_argument("--dtype", choices=edits.DTYPES, default=edits.native_dtypes()[-1], help="default: bf16 with AVX512-BF16, else fp32")
    args = parser.parse_args()
    if args.others is None:
        args.others = ["compile", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    args.steps = 2
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.model.exists():
        import random_model

        random_model.write_apart(args.model)
    found: dict = {}
    try:
        measure(args, found)
    finally:
        # A run that is cut off says what it has.
        if found.get("step"):
            draw(found, FLOP, args.out / "compare.png")
            print(report(found))


if __name__ == "__main__":
    main()
