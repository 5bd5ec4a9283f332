"""A tokenizer of CLIP's kind (byte-level BPE, `</w>` ends a word) in which every word of a world is one token."""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

# Tokens of one instruction with the two specials, as the text encoder is built for.
LENGTH = 24
START, END = "<|startoftext|>", "<|endoftext|>"


def _byte_symbols() -> list[str]:
    """Returns CLIP's printable stand-ins for the 256 bytes, in CLIP's order: printable bytes first, the others shifted up."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + rank) for rank in range(256 - len(printable))]


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Learns the merges that join every one of `words`."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=20000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator([" ".join(words)] * 50, trainer)
    return [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]


def build(folder: Path, words: tuple[str, ...]) -> CLIPTokenizer:
    """Writes the tokenizer of `words` to `folder` (tokenizer.json, vocab.json, merges.txt) and returns it."""
    merges = _merges(words)
    symbols = _byte_symbols()
    tokens = dict.fromkeys([*symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges), START, END])
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH, pad_token=END)
    split = [word for word in words if len(tokenizer.tokenize(word)) != 1]
    if split:
        raise RuntimeError(f"words that are not one token: {split}")
    tokenizer.save_pretrained(folder)
    return tokenizer
