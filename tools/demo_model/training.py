"""What both trainings share: the course of the rate, the log, the moving average, the stopping rule."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

WARM_UP_STEPS = 60
# The rate is flat up to this share of the budget, then falls along a cosine to the last share of itself.
FLAT = 0.45
FINAL_RATE = 0.01
EMA_DECAY = 0.998


@dataclass
class Budget:
    """How long to train: a number of steps or of minutes; minutes of earlier runs count."""

    steps: int | None
    minutes: float | None
    spent: float = 0.0
    """Seconds of earlier runs."""
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds trained so far."""
        return self.spent + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """Returns the share of the budget that is used, 1 at the end."""
        return step / self.steps if self.steps else self.seconds / (60 * self.minutes)


def rate_at(progress: float, step: int) -> float:
    """Returns the factor on the learning rate."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    fall = max(0.0, (min(progress, 1.0) - FLAT) / (1 - FLAT))
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))


class Average:
    """An exponential moving average of parameters."""

    def __init__(self, params: list[nn.Parameter]):
        self.params = params
        self.values = [param.detach().clone() for param in params]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves toward the parameters; early on it follows faster."""
        decay = min(EMA_DECAY, 1 - 1 / (step / 10 + 1))
        torch._foreach_lerp_(self.values, [param.detach() for param in self.params], 1 - decay)

    @torch.no_grad()
    def copy_to_params(self) -> None:
        """Overwrites the parameters with the average."""
        for param, value in zip(self.params, self.values):
            param.copy_(value)


class Log:
    """Means over some steps as lines of a JSONL file."""

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every
        self.sums: dict[str, float | torch.Tensor] = {}
        self.count = 0

    def add(self, step: int, facts: dict[str, float], **means: float | torch.Tensor) -> None:
        """Adds one step's `means`; each `every` steps writes them with the `facts` of that moment. Only then is a GPU waited for."""
        self.count += 1
        for name, value in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if step % self.every == 0:
            line = {"step": step, **facts, **{name: float(value) / self.count for name, value in self.sums.items()}}
            line = {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in line.items()}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            self.sums, self.count = {}, 0
