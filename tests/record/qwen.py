"""Records transformers' outputs for Qwen's tokenizer and encoder: ids with offsets, and states at real head size.

    python tests/record/qwen.py

The vocabulary is made so that a wrong split shows: its merges are of whole prompts, across words, digits and spaces,
and only the tokenizer's pattern keeps them from being used.
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AddedToken, Qwen2TokenizerFast, Qwen3Config, Qwen3Model

PINNED = {"torch": ("2.11.0", torch), "transformers": ("5.23.0", transformers)}
OUT = Path(__file__).resolve().parent.parent / "fixtures" / "text" / "qwen"
MERGES = 1400
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
THINK = ["<think>", "</think>"]
BEFORE, AFTER = f"{START}user\n", f"{STOP}\n{START}assistant\n<think>\n\n</think>\n\n"

EXTRA = [
    "  two spaces before", "two after  ", "tab\tbetween\t\ttabs", "line\nfeed\r\n\r\nand  \n mixed \n  ends\n\n",
    "\n\nlines before", "nbsp\u00a0\u00a0twice", "\u3000ideographic\u3000\u3000space",
    "em\u2003\u2003space\u2009 thin", "vertical\x0b\x0btab", "a\u2028b\u2029c\x85d", "12345 67 8.90",
    "١٢٣ १२३ 一二三 ⅫⅣ ½¾ x²³", "it'S they'RE we'Ll I'M he'd'Ve", "it\u2019s they\u2019re", "'ſ 'K long s and kelvin",
    "a'sb 'tis", "don''t", "cafe\u0301 nai\u0308ve A\u030angstro\u0308m", "\u1100\u1161\u11a8 한국어",
    "q\u0323\u0307 q\u0307\u0323", "\u0301mark first", "ﬁ ﬂ ﬀ", "Ⅷ ⅷ ①②③", "مرحبا، كيف الحال؟", "שָׁלוֹם עוֹלָם",
    "नमस्ते दुनिया", "สวัสดีครับ", "ආයුබෝවන්", "გამარჯობა", "Բարեւ", "ᏣᎳᎩ", "你好，世界！把猫变成狗", "猫を犬に変える。カタカナ", "𝕬𝖇𝖈 𝟙𝟚",
    "🦤🐈‍⬛ 👩🏽‍🚀 🇩🇪🏳️‍🌈", "a🐈b 🐈c", "zero\u200bwidth\u200djoiner\ufeff", "\ufffd\ue000\U0010ffff", "nul\x00 bell\x07",
    "!!!\n???\r\n...", " !? \n", "x  !  y", "#hash @at $1 %2 ^&*()", "snake_case __init__ camelCase",
    "https://example.com/a?b=c&d=1#e", f"a {END} b", f"{START}{STOP}", f"x{START}user\nhi{STOP}\n",
    "<think>why</think>", "< think >", "<|im_end|", "<|IM_END|>", "make the red star blue",
    "Change the dog\u2019s  collar to GREEN, please!", "mat 3x3 -> 4x4", "a" * 60, " " * 40, "\n" * 20,
    "\t \n \t\n x",
]


def main():
    for name, (version, module) in PINNED.items():
        found = module.__version__.split("+")[0]
        if found != version:
            sys.exit(f"{name} is {found}, the fixtures are recorded with {version}")
    OUT.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    record_tokens(words)
    record_head_size()


def prompts():
    written = json.loads((OUT.parent / "clip.json").read_text(encoding="utf-8"))
    texts = [it["text"] for it in written if len(it["text"]) < 120]
    return list(dict.fromkeys(EXTRA + texts))


def vocabulary():
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False, max_token_length=12
    )
    # Twice, since a pair that occurs once is not merged; within their template, which merges are to cross, too.
    special = [END, START, STOP, *THINK, "<|"]
    texts = [f"user\n{it}" for it in prompts() if not any(token in it for token in special)]
    backend.train_from_iterator(texts * 2, trainer)
    model = json.loads(backend.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(it) for it in model["merges"]]
    words = Qwen2TokenizerFast(vocab=dict(vocab), merges=merges)
    words.add_special_tokens({"additional_special_tokens": [START, STOP]})
    words.add_tokens([AddedToken(it, special=False, normalized=False) for it in THINK])
    added = {
        str(index): {
            "content": token.content, "special": token.special, "normalized": token.normalized,
            "lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word,
        }
        for index, token in words.added_tokens_decoder.items()
    }
    text = json.dumps(vocab, ensure_ascii=False, separators=(",", ":"))
    (OUT / "vocab.json").write_text(text + "\n", encoding="utf-8")
    lines = "".join(f"{a} {b}\n" for a, b in merges)
    (OUT / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")
    config = {"added_tokens_decoder": added, "pad_token": END, "eos_token": STOP}
    (OUT / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return words


def record_tokens(words):
    """Ids within the template, and for each its characters in the whole text, as bytes."""
    rows = []
    for prompt in prompts():
        text = BEFORE + prompt + AFTER
        read = words(text, return_offsets_mapping=True)
        at = [0]
        for character in text:
            at.append(at[-1] + len(character.encode()))
        offsets = [[at[a], at[b]] for a, b in read["offset_mapping"]]
        rows.append({"prompt": prompt, "ids": read["input_ids"], "offsets": offsets})
    assert len(rows) >= 200, len(rows)
    lines = ",\n".join(json.dumps(it, ensure_ascii=False, separators=(",", ":")) for it in rows)
    (OUT / "tokens.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(len(rows), "prompts,", len(words), "tokens")


@torch.no_grad()
def record_head_size():
    """Hidden states of two layers with heads of 128 channels and prompts of 512 tokens, by weights of a formula that
    the test has, too; thinned out."""
    config = Qwen3Config(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=128, max_position_embeddings=1024, rms_norm_eps=1e-6,
        rope_parameters={"rope_theta": 1e6, "rope_type": "default"},
    )
    model = Qwen3Model(config).eval()
    for key, parameter in model.named_parameters():
        parameter.copy_(recipe(key, parameter.shape))
    ids = (torch.arange(1024) * 7 % 61).view(2, 512)
    mask = torch.ones(2, 512, dtype=torch.long)
    mask[1, 37:] = 0
    states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
    hidden = torch.cat([states[1], states[2]], dim=-1)
    tensors = {"hidden": hidden.flatten()[::7].contiguous()}
    safetensors.torch.save_file(tensors, OUT / "head_size.safetensors")
    print("head size", tuple(hidden.shape), "std", hidden.std().item())


def recipe(key, shape):
    """Numbers that look random, of the key's length and each place."""
    count = torch.Size(shape).numel()
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + len(key)) * 43758.5453
    noise = (wave - wave.floor()) * 2 - 1
    if len(shape) == 1:
        value = 1 + 0.3 * noise
    elif "embed_tokens" in key:
        value = noise
    else:
        value = 1.4 * noise / shape[1] ** 0.5
    return value.to(torch.float32).view(shape)


if __name__ == "__main__":
    main()
