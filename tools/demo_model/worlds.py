"""The worlds that a model can be trained on: each draws pairs from seeds and has its words."""

from collections.abc import Callable
from dataclasses import dataclass

import emoji.pairs
import emoji.vocabulary
import pairs
import vocabulary


@dataclass(frozen=True)
class World:
    """Where pairs and words come from."""

    make_pair: Callable
    """Draws the pair of a seed: (seed, size, action or None)."""
    words: tuple[str, ...]
    """Every word that an instruction can hold."""


WORLDS = {
    "shapes": World(pairs.make_pair, tuple(vocabulary.words())),
    "emoji": World(emoji.pairs.make_pair, tuple(emoji.vocabulary.words())),
}
