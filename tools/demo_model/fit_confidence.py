"""Fits the weights of a model's confidence, for `confidence` in its `retouch.json`.

    retouch bench confidence runs/presence-fit/manifest.jsonl --seed 1 --json > own.jsonl
    retouch bench confidence runs/hard-tune/presence.jsonl --seed 1 --json > hard.jsonl
    python fit_confidence.py own.jsonl hard.jsonl
    retouch bench confidence runs/presence-test/manifest.jsonl --seed 1     # with the weights in place, on other scenes

A logistic regression of "the object is there" on the evidence of each localization, with a ridge on the standardized weights; both
classes weigh the same, however many items they have.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

EVIDENCE = ("contrast", "inside", "spread", "peak", "weakest", "mean", "agreement", "color")
STEPS = 50
FOLDS = 5


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the evidence (items, features) and whether the object is there (items,), of the lines with an `item`."""
    records = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    items = [record["item"] for record in records if "item" in record]
    values = np.array([[item["evidence"][name] for name in EVIDENCE] for item in items])
    values[:, EVIDENCE.index("contrast")] = np.log(values[:, EVIDENCE.index("contrast")])
    return values, np.array([item["absent"] is None for item in items], dtype=float)


def fit(values: np.ndarray, there: np.ndarray, ridge: float) -> dict[str, float]:
    """Returns bias and weights that maximize the likelihood less the ridge, by Newton's method."""
    center, scale = values.mean(0), values.std(0) + 1e-9
    inputs = np.column_stack([np.ones(len(values)), (values - center) / scale])
    share = np.where(there > 0, 0.5 / there.mean(), 0.5 / (1 - there.mean()))
    penalty = ridge * np.eye(inputs.shape[1])
    penalty[0, 0] = 0
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (share * chance * (1 - chance))[:, None]).T @ inputs + penalty
        slope = inputs.T @ (share * (chance - there)) + penalty @ weights
        weights = weights - np.linalg.solve(curvature, slope)
    plain = weights[1:] / scale
    found = {"bias": weights[0] - plain @ center, **dict(zip(EVIDENCE, plain))}
    return {name: round(float(value), 3) for name, value in found.items()}


def chances(weights: dict[str, float], values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-weights["bias"] - values @ [weights[name] for name in EVIDENCE]))


def auroc(chance: np.ndarray, there: np.ndarray) -> float:
    """How often something that is there has the greater chance than something that is not; ties count half."""
    present, absent = chance[there > 0][:, None], chance[there == 0][None]
    return float((present > absent).mean() + (present == absent).mean() / 2)


def calibration_error(chance: np.ndarray, there: np.ndarray) -> float:
    """The expected calibration error over ten bins of equal width, as `retouch bench confidence` has it."""
    bins = np.minimum((chance * 10).astype(int), 9)
    return float(sum(abs(chance[bins == it].mean() - there[bins == it].mean()) * (bins == it).mean() for it in np.unique(bins)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--ridge", type=float, default=3.0)
    args = parser.parse_args()
    sets = [read(path) for path in args.lines]
    values, there = (np.concatenate(it) for it in zip(*sets, strict=True))
    source = np.repeat(np.arange(len(sets)), [len(it[1]) for it in sets])
    fold = np.random.default_rng(0).integers(0, FOLDS, len(there))
    chance = np.empty(len(there))
    for it in range(FOLDS):
        weights = fit(values[fold != it], there[fold != it], args.ridge)
        chance[fold == it] = chances(weights, values[fold == it])
    for index, path in enumerate(args.lines):
        own = source == index
        print(f"{path}: {FOLDS}-fold AUROC {auroc(chance[own], there[own]):.3f}, calibration error {calibration_error(chance[own], there[own]):.3f}", file=sys.stderr)
    print(json.dumps({"confidence": fit(values, there, args.ridge)}))


if __name__ == "__main__":
    main()
