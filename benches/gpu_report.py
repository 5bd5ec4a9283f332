"""What `gpu.py` found, as tables, with the aims that are met."""

import argparse
import statistics

from engines import ratio, spread

AT_MOST = {
    "step / diffusers, the better layout": 0.6,
    "step / diffusers, max-autotune": 1.15,
    "localizing step / plain step": 1.05,
    "service with 4 watchers / bare engine": 1.02,
}
"""The most that each ratio may be."""
AT_LEAST = {"pictures a second, 8 jobs at once / one after the other": 1.6}
"""The least that each ratio may be."""
COMPILED = ("reduce_overhead", "max_autotune")
"""Sections on `torch.compile`."""
LAYER_BOUND = {"fp16": 1e-3, "bf16": 8e-3, "fp32": 2e-6}
"""The most that a fused layer may be from fp64: the rounding of its result, and what its steps add in fp32."""


def ratios(found: dict) -> dict:
    """Of those sections that ended well."""
    of = {}
    if step := found.get("steps"):
        eager = min((step[it] for it in ("diffusers", "diffusers, channels last")), key=statistics.median)
        of["step / diffusers, the better layout"] = ratio(step["retouch"], eager)
        of |= {f"step / {it}": ratio(step["retouch"], step[it]) for it in step if it in ("launched", "not-fused", "searched")}
    for section in COMPILED:
        if section not in found:
            continue
        ours, *theirs = found[section].items()
        of |= {f"step / {name}": ratio(ours[1], samples) for name, samples in theirs}
    if guests := found.get("guests"):
        of["localizing step / plain step"] = ratio(guests["localize"], guests["none"])
        of["gated step / plain step"] = ratio(guests["gate"], guests["none"])
    if service := found.get("service"):
        of["service with 4 watchers / bare engine"] = ratio(service["service"], service["bare"])
    if jobs := found.get("jobs"):
        of["pictures a second, 8 jobs at once / one after the other"] = ratio(jobs["one after the other"], jobs["at once"])
    return of


def verdict(name: str, value: float) -> str:
    if name in AT_MOST:
        return f"at most {AT_MOST[name]}: {'met' if value <= AT_MOST[name] else 'NOT MET'}"
    if name in AT_LEAST:
        return f"at least {AT_LEAST[name]}: {'met' if value >= AT_LEAST[name] else 'NOT MET'}"
    return ""


def report(args: argparse.Namespace, found: dict) -> str:
    lines = [f"{found['device']}, {args.dtype}, {args.pixels} px, three rows; products of fp16 {found['matmul'] / 1e12:.3g} TFLOP/s"]
    lines += ["", "| seconds | ms, median (min-max) | share of the products' rate |", "|---|---|---|"]
    for section in ("steps", *COMPILED, "guests", "service", "jobs"):
        for name, samples in found.get(section, {}).items():
            share = ""
            if section in ("steps", *COMPILED) and "operations" in found:
                share = f"{found['operations'] / statistics.median(samples) / found['matmul']:.3f}"
            lines.append(f"| {section}: {name} | {spread([it * 1e3 for it in samples])} | {share} |")
    lines += ["", "| ratio | | 95 % | aim |", "|---|---|---|---|"]
    for name, it in ratios(found).items():
        lines.append(f"| {name} | {it['ratio']:.3f} | {it['low']:.3f}-{it['high']:.3f} | {verdict(name, it['ratio'])} |")
    if errors := found.get("errors"):
        lines += ["", "| distance to diffusers in fp32, relative | |", "|---|---|", *(f"| {name} | {it:.2e} |" for name, it in errors.items())]
    if layers := found.get("layers"):
        lines += ["", "| fused layer, largest distance to fp64, relative | ours | libtorch's | |", "|---|---|---|---|"]
        for name, dtype in dict.fromkeys((it["layer"], it["dtype"]) for it in layers):
            of = [it for it in layers if (it["layer"], it["dtype"]) == (name, dtype)]
            # A number that is none is not below the bound.
            wrong = [f"WRONG for {it['shape']}: {it['error']}" for it in of if it["error"] is not None and not it["error"] <= LAYER_BOUND[dtype]]
            wrong += [f"no kernel for {it['shape']}" for it in of if it["error"] is None]
            ours = max((it["error"] for it in of if it["error"] is not None), default=float("nan"))
            lines.append(f"| {name}, {dtype} | {ours:.1e} | {max(it['libtorch'] for it in of):.1e} | {', '.join(wrong)} |")
    if kernels := found.get("kernels"):
        total = sum(it["seconds"] for it in kernels)
        lines += ["", f"kernels of a step: {sum(it['count'] for it in kernels)}, {total * 1e3:.2f} ms one by one", "", "| µs | times | kernel |", "|---|---|---|"]
        lines += [f"| {it['seconds'] * 1e6:.0f} | {it['count']} | `{it['kernel']}` |" for it in kernels[:32]]
    for name, failure in found.get("failed", {}).items():
        lines += ["", f"FAILED: {name}: {failure.strip().splitlines()[-1]}"]
    return "\n".join(lines)
