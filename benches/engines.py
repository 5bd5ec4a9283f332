"""Processes that are asked in turn, and what their times say of one another."""

import json
import os
import statistics
import subprocess
import sys

import numpy as np


class Engine:
    """A process that answers one request after another."""

    def __init__(self, command: list) -> None:
        self.child = subprocess.Popen([str(it) for it in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loaded = self.answer()

    def answer(self) -> dict:
        for line in self.child.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{self.child.args} ended with {self.child.wait()}")

    def ask(self, run: str, **request) -> dict:
        self.child.stdin.write(json.dumps({"run": run, **request}) + "\n")
        self.child.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.child.stdin.close()
        self.child.wait()


def rounds(count: int, runs: dict) -> dict[str, list[float]]:
    """Runs each of `runs` once to warm up, then `count` times in turn, every second round backwards."""
    found = {name: [] for name in runs}
    for run in runs.values():
        run()
    for index in range(count):
        for name in list(runs)[:: -1 if index % 2 else 1]:
            found[name].append(runs[name]()["seconds"])
        print(f"round {index + 1} of {count}: load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return found


def ratio(ours: list[float], theirs: list[float]) -> dict:
    """Ratio of medians, and its 95 % interval by a bootstrap over pairs."""
    ours, theirs = np.array(ours), np.array(theirs)
    drawn = np.random.default_rng(0).integers(len(ours), size=(10_000, len(ours)))
    low, high = np.percentile(np.median(ours[drawn], 1) / np.median(theirs[drawn], 1), [2.5, 97.5])
    return {"ratio": float(np.median(ours) / np.median(theirs)), "low": float(low), "high": float(high)}


def spread(samples: list[float]) -> str:
    return f"{statistics.median(samples):.3g} ({min(samples):.3g}-{max(samples):.3g})"
