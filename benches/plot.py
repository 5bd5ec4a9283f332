"""The picture of a run of `benches/compare.py`: each engine's step beside the least that the machine could take."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLORS = {"retouch": "#2a6fbb"}
OTHER = "#b8bec6"
LIMIT = "#c0392b"


def draw(found: dict, flop: dict[int, float], path: Path) -> None:
    """Writes a row of bars for each size."""
    figure, axes = plt.subplots(len(found["step"]), figsize=(8, 1.9 * len(found["step"])), layout="constrained", squeeze=False)
    for axis, (pixels, engines) in zip(axes[:, 0], found["step"].items()):
        ordered = sorted(engines, key=lambda name: -statistics.median(engines[name]))
        for row, name in enumerate(ordered):
            median = statistics.median(engines[name])
            axis.barh(row, median, color=COLORS.get(name, OTHER), height=0.7)
            spread = [[median - min(engines[name])], [max(engines[name]) - median]]
            axis.errorbar(median, row, xerr=spread, color="#333333", capsize=3, linewidth=1)
            axis.text(max(engines[name]), row, f"  {median:.2f} s", va="center")
        if found["peak_gflops"]:
            limit = flop[int(pixels)] / (found["peak_gflops"] * 1e9)
            axis.axvline(limit, color=LIMIT, linestyle="--", linewidth=1.2)
            axis.text(limit, len(ordered) - 0.45, " limit of the processor", color=LIMIT, fontsize=8, va="bottom")
        axis.set_yticks(range(len(ordered)), ordered)
        axis.set_xlim(0, 1.15 * max(max(it) for it in engines.values()))
        axis.set_ylim(-0.6, len(ordered))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel(f"seconds a step, {pixels} px, {found['dtype']}, {found['cores']} cores")
    figure.savefig(path, dpi=150)
