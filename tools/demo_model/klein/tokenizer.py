"""A tokenizer of Qwen2's kind (byte-level BPE over Qwen's pattern) in which every word of a world is one token.

Words have a token with the space before them, and another without, for the first of an instruction.
"""

import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AddedToken, Qwen2TokenizerFast

# Tokens of one prompt: the 12 of the template, and room for 24 of an instruction.
LENGTH = 36
PAD, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
THINK = ("<think>", "</think>")
# What stands around an instruction: Qwen3's chat template for one message of a user, with thinking switched off.
BEFORE = f"{START}user\n"
AFTER = f"{STOP}\n{START}assistant\n{THINK[0]}\n\n{THINK[1]}\n\n"
# That part of the template in Jinja, as `tokenizer_config.json` holds it and diffusers applies it.
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
# What the template is made of beside its marks.
TEMPLATE_WORDS = ("user", "assistant", "\n\n")


def _trained(words: tuple[str, ...]) -> Tokenizer:
    """Learns the merges that join every one of `words`, with and without a space before it."""
    learner = Tokenizer(models.BPE())
    # Every word of the texts below stands alone: nothing is merged across two of them.
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("\0"), "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=20000, min_frequency=1, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    texts = [*TEMPLATE_WORDS, *words, *(f" {word}" for word in words)]
    learner.train_from_iterator(["\0".join(texts)] * 50, trainer)
    return learner


def build(folder: Path, words: tuple[str, ...]) -> Qwen2TokenizerFast:
    """Writes the tokenizer of `words` to `folder` (tokenizer.json and its configuration) and returns it."""
    model = json.loads(_trained(words).to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Qwen2TokenizerFast(vocab=model["vocab"], merges=merges, pad_token=PAD, eos_token=STOP, unk_token=None)
    tokenizer.add_special_tokens({"additional_special_tokens": [START, STOP]})
    tokenizer.add_tokens([AddedToken(it, special=False, normalized=False) for it in THINK])
    tokenizer.chat_template = TEMPLATE
    tokenizer.padding_side = "right"
    texts = [*words, *(f" {word}" for word in words), *TEMPLATE_WORDS, START, STOP, *THINK, PAD]
    split = [text for text in texts if len(tokenizer.tokenize(text)) != 1]
    if split:
        raise RuntimeError(f"words that are not one token: {split}")
    tokenizer.save_pretrained(folder)
    return tokenizer


def token_mask(tokenizer: Qwen2TokenizerFast, text: str, span: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns the ids of `text` within the template (LENGTH,) and 1.0 at each token that lies in the characters `span`."""
    encoded = tokenizer(
        BEFORE + text + AFTER, padding="max_length", truncation=True, max_length=LENGTH, return_offsets_mapping=True
    )
    first, last = (len(BEFORE) + place for place in span)
    # A token begins with the space before its word.
    inside = [float(start + 1 >= first and end <= last and end > start + 1) for start, end in encoded["offset_mapping"]]
    return torch.tensor(encoded["input_ids"]), torch.tensor(inside)
