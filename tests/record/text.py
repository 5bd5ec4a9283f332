"""Records transformers' outputs for prompts: CLIP token ids with offsets, and hidden states of tiny text encoders.

Run from the repository's root: python tests/record/text.py
"""

import gzip
import json
import re
import shutil
import unicodedata
from pathlib import Path

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "5.23.0", transformers.__version__

OUT = Path("tests/fixtures/text")
BOS, EOS = "<|startoftext|>", "<|endoftext|>"

# Merges of the small vocabulary that is recorded with its files.
SMALL_MERGES = 300

WRITTEN = r"""
make the cat a dog
a photo of a cat
turn the sofa into a leather armchair
swap the apple for a pear
add a hat to the man
remove the headscarf
give her a headscarf
what if it were snowing?
make it look like a watercolor painting by Turner
have the man wear a hat
replace the mountains with a city skyline, at night
it's the dog's bowl
they're here, I've seen 'em, we'll go, he'd stay, I'm off, can't won't
IT'S THE DOG'S BOWL
don't'd've
rock 'n' roll
"quoted" 'single' “curly” ‘single curly’ «guillemets»
1 2 3 42 1234567890 3.14 1,000,000
half-life 50% off $9.99 #1 @home
a/b\\c|d
e-mail me@example.com or visit https://example.com/path?x=1&y=2
snake_case and camelCase and SCREAMING_CASE
hello...world!!! really??
(parentheses) [brackets] {braces} <angles>
tabs\tand\nnewlines\r\nand  double  spaces
   leading and trailing   
\u00a0non-breaking\u00a0space\u2003em\u2009thin\u3000ideographic
zero\u200bwidth\u200djoiner\ufeff
vertical\x0btab form\x0cfeed next\x85line
line\u2028separator paragraph\u2029separator
café naïve résumé Zürich Ångström
cafe\u0301 nai\u0308ve re\u0301sume\u0301 combining
e\u0301\u0323 stacked \u0301leading mark
İstanbul'da İki IŞIK ığdır
STRASSE straße GROẞ
ﬁne ﬂuﬀy oﬃce ligatures
ǅ ǆ Ǆ titlecase
Ωμέγα ΣΊΣΥΦΟΣ σίσυφος
Привет, мир! Сделай кошку собакой
שלום עולם
مرحبا بالعالم
नमस्ते दुनिया
สวัสดีชาวโลก
你好，世界
把猫变成狗
猫を犬にしてください
カタカナ ｶﾀｶﾅ ﾊﾟ
안녕하세요 세계
각 decomposed \u1100\u1161\u11a8
𝕄𝕒𝕥𝕙 𝓈𝒸𝓇𝒾𝓅𝓉 𝟙𝟚𝟛
①②③ ½ ¾ ² ³ Ⅳ ⅷ
٣٤٥ १२३ ๑๒๓
🐈
turn the 🐈 into a 🐕
👩‍👩‍👧‍👦 family 👍🏽 thumbs 🏳️‍🌈 flag 🇩🇪
❤️ vs ❤ and ☺️
emoji😀without😀spaces
™ © ® € £ ¥ § ¶ † ‡ • … ‰
→ ← ↔ ⇒ ∀ ∃ ∈ ∞ ≠ ≤ ≥ ± × ÷
─│┌┐ box ░▒▓
a\u0000null
bell\x07escape\x1b
\ufffd replacement
\ue000 private use
<|startoftext|>
<|endoftext|>
before <|endoftext|> after
<|STARTOFTEXT|> shouted
<|endoftext|><|endoftext|>
< |endoftext| >
</w> end of word
a</w>b
#version: 0.2
Ġ Ċ Â ĠĠ
ÿ þ ð
'
''
's
's 't 're 've 'm 'll 'd
'S 'T 'RE
’s ’t ’re
-
--
—em—dash–en
.
...
…
!
!!!
?!
,
 
a
A
I
x
aa
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
supercalifragilisticexpialidocious
pneumonoultramicroscopicsilicovolcanoconiosis
Donaudampfschifffahrtsgesellschaftskapitän
antidisestablishmentarianism's
qwrtpsdfghjklzxcvbnm
xyzzy plugh
lorem ipsum dolor sit amet, consectetur adipiscing elit
8k uhd, dslr, soft lighting, high quality, film grain, Fujifilm XT3
(masterpiece:1.2), best quality, ((intricate)), [blurry]
a man & a woman; a boy + a girl = family
C++ C# .NET node.js
10:30 a.m. on 2024-01-31
+1 (555) 010-9999
x² + y² = z²
H₂O CO₂
50°C −40°F 5′ 10″
3D 4K 2x 1st 2nd 3rd
the the the the
The quick brown fox jumps over the lazy dog
THE QUICK BROWN FOX
tHe QuIcK bRoWn FoX
make the tomatoes zucchinis
blacken the sky behind the wizard's tower
put a top hat on the left-most penguin
dress the mannequin in a kimono
the cat and the dog become foxes
Van Gogh's “Starry Night”-style sky
señor niño mañana
Łódź żółw gęś
çok güzel şey
Ærøskøbing Þór æther œuvre
ĳ Ĳ ŉ ſ
ﷺ
Ǆungla
\u212b \u2126 \u212a kelvin
\u1e9e\u0130\u0131
""".strip("\n").split("\n")


def prompts() -> list[str]:
    texts = ["", " ", "\n", "\t \n", "\u3000"]
    texts += [unescape(text) for text in WRITTEN]
    # Long ones: exactly the length that is read, one more, and far more, cut in the middle of words and characters.
    texts += ["cat " * 75, "cat " * 76, "cat " * 500, "supercalifragilistic " * 40, "🐈" * 60, "猫" * 200, "é" * 300]
    texts += [f"{' '.join(['red', 'green', 'blue'] * 24)} {tail}" for tail in ("a b c", "antidisestablishmentarianism", "d e f.")]
    # Every ASCII character and every letter of Latin-1 and beyond in company.
    texts += ["".join(map(chr, range(start, start + 32))) for start in (0, 32, 64, 96, 128, 160, 192, 224)]
    texts += ["".join(map(chr, range(start, start + 24))) for start in (0x100, 0x180, 0x370, 0x400, 0x530, 0x2000, 0x2100, 0xFF01)]
    objects = ["cat", "Persian rug", "traffic light", "mother-in-law", "T-shirt", "vase of tulips", "UFO", "1950s diner"]
    styles = ["pencil sketch", "Lego bricks", "stained glass", "8-bit pixel-art", "Ukiyo-e woodblock"]
    texts += [f"Turn the {a} into {b}!" for a, b in zip(objects, styles * 2)]
    texts += [f"{a}, in the style of {b}..." for a, b in zip(styles, objects)]
    texts += [f"add {n} {a}s" for n, a in enumerate(objects)]
    texts += [f"what would it look like if the {a} were a {b}?" for a, b in zip(objects, objects[::-1])]
    texts += [f"replace the {a}'s colour with {n}% grey" for n, a in enumerate(objects, 97)]
    texts += [f"{a.upper()}; {b.title()}" for a, b in zip(objects, styles * 2)]
    return list(dict.fromkeys(texts))


def unescape(text: str) -> str:
    return re.sub(r"\\(u[0-9a-f]{4}|x[0-9a-f]{2}|[tnr\\])", lambda it: json.loads(f'"{ascii_escape(it[1])}"'), text)


def ascii_escape(code: str) -> str:
    return "\\u00" + code[1:] if code[0] == "x" else "\\" + code


def byte_offsets(text: str, offsets: list[tuple[int, int]]) -> list[list[int]]:
    """Character offsets as byte offsets."""
    at = [0]
    for character in text:
        at.append(at[-1] + len(character.encode()))
    return [[at[start], at[end]] for start, end in offsets]


def clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """CLIP's vocabulary, in the form of vocab.json and merges.txt, from the file that open_clip ships."""
    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.open(path).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    return vocabulary(merges), merges


def vocabulary(merges: list[str]) -> dict[str, int]:
    symbols = list(open_clip.tokenizer.bytes_to_unicode().values())
    tokens = symbols + [it + "</w>" for it in symbols] + [it.replace(" ", "") for it in merges] + [BOS, EOS]
    return {token: number for number, token in enumerate(tokens)}


def record(tokenizer: CLIPTokenizer, texts: list[str]) -> list[dict]:
    rows = []
    for text in texts:
        read = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length, padding="max_length")["input_ids"]
        whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False)
        kept = min(len(whole["input_ids"]), tokenizer.model_max_length - 2)
        pad = read[kept + 2 :]
        assert pad == [tokenizer.pad_token_id] * len(pad)
        rows.append({
            "text": text,
            "ids": read[: kept + 2],
            "offsets": byte_offsets(text, whole["offset_mapping"][:kept]),
            "composed": unicodedata.normalize("NFC", text) != text,
            "tokens": len(whole["input_ids"]),
        })
    return rows


def record_tokenizers() -> None:
    texts = prompts()
    assert len(texts) >= 200, len(texts)
    vocab, merges = clip_vocabulary()
    assert merges == Path("assets/clip/merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[tuple(it.split()) for it in merges], model_max_length=77)
    plain = "a photo of a cat, and the dog's headscarf"
    assert tokenizer(plain)["input_ids"] == open_clip.SimpleTokenizer()(plain)[0, : len(tokenizer(plain)["input_ids"])].tolist()
    write_json("clip.json", record(tokenizer, texts))

    # A small vocabulary, in all the files that transformers reads and writes.
    folder = OUT / "tokenizer"
    shutil.rmtree(folder, ignore_errors=True)
    small = merges[:SMALL_MERGES]
    tokenizer = CLIPTokenizer(
        vocab=vocabulary(small), merges=[tuple(it.split()) for it in small], model_max_length=16, pad_token="!"
    )
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary(small), ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(small) + "\n", encoding="utf-8")
    write_json("small.json", record(CLIPTokenizer.from_pretrained(folder), texts[::4]))
    print(len(texts), "prompts;", sorted(it.name for it in folder.iterdir()))


def record_text_models() -> None:
    base = dict(vocab_size=80, max_position_embeddings=12, bos_token_id=78, pad_token_id=79, projection_dim=8)
    configs = {
        # The legacy end token, as in the text encoders of Stable Diffusion 1.x.
        "quick_gelu": (CLIPTextModel, dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, hidden_act="quick_gelu", eos_token_id=2)),
        # As in Stable Diffusion 2.x, with a token above the end token.
        "gelu": (CLIPTextModel, dict(hidden_size=16, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, hidden_act="gelu", eos_token_id=77, layer_norm_eps=1e-3)),
        # Keys under `text_model`, and a projection that is not used.
        "projection": (CLIPTextModelWithProjection, dict(hidden_size=20, intermediate_size=20, num_hidden_layers=1, num_attention_heads=1, hidden_act="quick_gelu", eos_token_id=79)),
    }
    for seed, (name, (model_class, options)) in enumerate(configs.items()):
        folder = OUT / f"model_{name}"
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(seed)
        config = CLIPTextConfig(**base, **options)
        model = model_class(config).eval()
        for parameter in model.parameters():
            # Far from the initial values, so that every bias, norm and activation shows in the outputs.
            parameter.data = torch.randn_like(parameter) * 0.4 + (1.0 if parameter.dim() == 1 else 0.0) * 0.5
        model.save_pretrained(folder)
        end = 79 if options["eos_token_id"] == 2 else options["eos_token_id"]
        ids = torch.randint(3, 76, (3, 12))
        ids[:, 0] = 78
        ids[0, 5:] = end
        ids[1, 11] = end
        ids[2, 3] = end
        ids[2, 6] = end
        with torch.no_grad():
            text_model = getattr(model, "text_model", model)
            output = text_model(input_ids=ids)
            short = text_model(input_ids=ids[:1, :7].contiguous())
        save_file(
            {
                "ids": ids,
                "last_hidden_state": output.last_hidden_state.contiguous(),
                "pooled_output": output.pooler_output.contiguous(),
                "short": short.last_hidden_state.contiguous(),
            },
            folder / "outputs.safetensors",
        )
        print(name, "seed", seed, sum(it.stat().st_size for it in folder.iterdir()), "bytes")


def write_json(name: str, rows: list[dict]) -> None:
    lines = ",\n".join(json.dumps(it, ensure_ascii=False, separators=(",", ":")) for it in rows)
    (OUT / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    record_tokenizers()
    record_text_models()
