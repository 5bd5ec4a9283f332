"""Training fast on a GPU: a step as one launch, and pairs that are kept there, since CPUs cannot draw them as fast as it learns."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

Batch = dict[str, Tensor]

# Steps before the recording, in which libraries make their handles and the optimizers their state.
WARM_UP_CALLS = 3
# Batches that are kept to draw from, if each pair is shown more than once.
KEPT_BATCHES = 128


class Recorded:
    """A function of a batch as a CUDA graph, recorded at its fourth call. What it returns holds until the next call."""

    def __init__(self, work: Callable[[Batch], Batch]):
        self.work = work
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Batch:
        self.calls += 1
        if self.calls <= WARM_UP_CALLS:
            return self._aside(batch)
        if self.graph is None:
            self.graph, self.read = torch.cuda.CUDAGraph(), {name: tensor.clone() for name, tensor in batch.items()}
            # The thread that pins the batches to come is not part of it.
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.returned = self.work(self.read)
        for name, tensor in batch.items():
            self.read[name].copy_(tensor)
        self.graph.replay()
        return self.returned

    def _aside(self, batch: Batch) -> Batch:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            returned = self.work(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return returned


def shown(fresh: Iterable[Batch], times: int) -> Iterator[Batch]:
    """Yields batches in which each pair of `fresh` comes about `times` times, drawn from the latest ones.

    The networks see another noise level and another noise with each. At 1 the batches are those of `fresh`.
    """
    kept: Batch = {}
    filled = count = 0
    for batch in fresh:
        if times == 1:
            yield batch
            continue
        size = len(batch["ids"])
        if not kept:
            kept = {name: tensor.new_empty(KEPT_BATCHES * size, *tensor.shape[1:]) for name, tensor in batch.items()}
        start = count % KEPT_BATCHES * size
        for name, tensor in batch.items():
            kept[name][start : start + size] = tensor
        count += 1
        filled = min(count, KEPT_BATCHES) * size
        for _ in range(times):
            drawn = torch.randint(filled, (size,), device=batch["ids"].device)
            yield {name: tensor[drawn] for name, tensor in kept.items()}
