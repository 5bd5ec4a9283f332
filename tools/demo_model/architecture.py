"""What the trainer, the export and the judge need of a kind of model; `architectures.py` has the kinds.

An architecture owns a run's networks, its tokenizer and its loss. The trainer owns what all of them share: pairs,
optimizers, the average, checkpoints.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from models import Preset
from pairs import Pair

# A cell of the latents counts as changed where source and target differ by more than this on average.
CHANGED = 0.25


class Architecture(ABC):
    """The networks of a run, in training or to be exported."""

    pipeline_class: type[DiffusionPipeline]
    """What a snapshot of it is loaded by."""
    guided_by_the_picture: bool
    """Whether its guidance has a second scale, for the picture."""
    outer: tuple[str, ...]
    """Parts of the names of weights that are matrices and yet not Muon's: embeddings and the outermost layers."""
    modules: dict[str, nn.Module]
    """The networks that are trained, under their names in a checkpoint."""

    def __init__(self, preset: Preset, tokenizer: PreTrainedTokenizerBase, bf16: bool = False):
        self.preset = preset
        self.tokenizer = tokenizer
        # Half-precision convolutions are faster with the channels innermost, those in fp32 on a CPU are not.
        self.layout = torch.channels_last if bf16 else torch.contiguous_format

    @staticmethod
    @abstractmethod
    def open_tokenizer(folder: Path, words: tuple[str, ...]) -> PreTrainedTokenizerBase:
        """Loads the tokenizer in `folder`, or builds that of `words` there."""

    @staticmethod
    @abstractmethod
    def open_vae(folder: Path, preset: Preset) -> nn.Module:
        """Loads the autoencoder in `folder`, where `train_vae.py` wrote it; what else it needs is measured and kept there."""

    @abstractmethod
    def start_from(self, snapshot: Path) -> None:
        """Loads a snapshot's weights. Words that both tokenizers have keep their embedding, new ones stay random."""

    @abstractmethod
    def to(self, device: str) -> None:
        """Brings the networks to a device, and prepares them for training there."""

    @abstractmethod
    def read(self, text: str, span: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Returns the ids of a text (tokens,), and 1.0 at each token that lies in the characters `span`."""

    @abstractmethod
    def encode(self, vae: nn.Module, pictures: Tensor) -> Tensor:
        """Returns the latents of pictures (B, 3, h, w) in -1..1, as they are denoised."""

    @abstractmethod
    def losses(self, batch: dict[str, Tensor], inside: float) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (loss, grounding loss, share of attention inside the object). `inside` is weighed in more where a picture changes."""

    @abstractmethod
    def pipeline(self, vae: nn.Module) -> DiffusionPipeline:
        """Returns diffusers' pipeline of the networks."""

    @staticmethod
    @abstractmethod
    def export(pipe: DiffusionPipeline, run: Path, folder: Path) -> None:
        """Completes the snapshot in `folder` with what diffusers does not write."""

    @staticmethod
    @abstractmethod
    def edit(pipe: DiffusionPipeline, pairs: list[Pair], steps: int, text: float, image: float) -> np.ndarray:
        """Returns the edited pictures, (n, h, w, 3) in 0..1. Each pair's noise comes from its own seed."""

    @property
    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """All parameters with their names, in the order of a checkpoint's averages."""
        return [named for module in self.modules.values() for named in module.named_parameters()]


def change_weight(source: Tensor, target: Tensor, inside: float) -> Tensor:
    """Returns the weights (B, 1, h, w) of the cells of latents: 1, and `inside` more at and around what changes."""
    changed = ((target - source).abs().mean(1, keepdim=True) > CHANGED).float()
    return 1 + inside * F.max_pool2d(changed, 3, 1, 1)


def with_known_words(table: Tensor, learned: Tensor, tokens: dict[str, int], old: dict[str, int]) -> Tensor:
    """Returns the embeddings `table` of `tokens` with those `learned` for the tokens that were in `old`, too."""
    table = table.detach().clone()
    for token, index in tokens.items():
        if token in old:
            table[index] = learned[old[token]]
    return table
