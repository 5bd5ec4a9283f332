"""Pairs as tensors, drawn on the fly by worker processes."""

import os
import signal
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

import seeds
from models import Preset
from pairs import Pair
from worlds import WORLDS


# From an instruction and the characters of its object to token ids (tokens,) and 1.0 at each token of the object.
Read = Callable[[str, tuple[int, int]], tuple[Tensor, Tensor]]


def pixels(picture) -> Tensor:
    """Returns a picture (h, w, 3) uint8 as (3, h, w) uint8."""
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


def draw(preset: Preset, seed: int, action: str | None = None) -> Pair:
    """Draws the pair of `seed` in the preset's world; the action is drawn too where it is not given."""
    return WORLDS[preset.world].make_pair(seed, preset.pixels, action)


class Pairs(Dataset):
    """The pairs of seeds `0, 1, 2, …` as tensors."""

    def __init__(self, preset: Preset, read: Read):
        self.preset = preset
        self.read = read

    def __getitem__(self, seed: int) -> dict[str, Tensor]:
        pair = draw(self.preset, seed)
        ids, tokens = self.read(pair.edit.instruction, pair.edit.span)
        return {
            "source": pixels(pair.source),
            "target": pixels(pair.target),
            "mask": torch.from_numpy(pair.object_mask)[None],
            "ids": ids,
            "tokens": tokens,
        }


class From(Sampler):
    """Counts upward from `first`, without an end."""

    def __init__(self, first: int):
        self.first = first

    def __iter__(self) -> Iterator[int]:
        seed = self.first
        while True:
            yield seed % seeds.HELD_OUT
            seed += 1


def _heed_the_parent(_: int) -> None:
    """Lets a worker end by the parent's word alone: `timeout` and a terminal interrupt the whole group of processes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batches(preset: Preset, read: Read, batch: int, workers: int, first: int) -> Iterator[dict[str, Tensor]]:
    """Yields batches of pairs without an end, from seed `first` on, in the same order for any number of workers."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    drawn = Pairs(preset, read)
    more = {"prefetch_factor": 4, "worker_init_fn": _heed_the_parent} if workers else {}
    # A generator of its own, so that the one of the training is where the checkpoint left it.
    more |= {"generator": torch.Generator(), "pin_memory": torch.cuda.is_available()}
    yield from DataLoader(drawn, batch, sampler=From(first), num_workers=workers, **more)
