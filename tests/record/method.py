"""Records outputs of IAM-Edit, implemented as attention processors of diffusers, on the tiny snapshots.

The processors here are an independent implementation of the method: maps from explicit probabilities, one list entry
per layer and step, averaged at the end; masks pooled by torch. The Rust implementation must agree with them.

Usage: python tests/record/method.py
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import save_file

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert diffusers.__version__ == "0.42.1", diffusers.__version__
assert transformers.__version__ == "5.23.0", transformers.__version__

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
INSTRUCTION = "change the red circle to a blue star"
OBJECT = "red circle"
STEPS, SEED, TEXT_GUIDANCE, IMAGE_GUIDANCE = 20, 11, 4.0, 1.3
# Name of the case, snapshot, picture size in latent cells (height, width), level of cross-attention: if a U-Net has none
# at a quarter of the latent's size, the maps have half its size.
CASES = [("square", "sd1", (16, 16), 2), ("odd", "sd1", (13, 9), 2), ("linear", "linear", (12, 16), 1)]


def picture(width, height):
    """A deterministic picture with structure at every scale."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 90 * np.sin(x / 5) * np.cos(y / 7)
    green = 255 * ((x // 6 + y // 4) % 2) * 0.6 + 40
    blue = 255 * np.exp(-(((x - width / 3) ** 2 + (y - height / 2) ** 2) / (width * height / 18)))
    return Image.fromarray(np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8))


def sites(unet):
    """Processor name -> (stage, kind, level), level 0 at the latent's own size."""
    levels = len(unet.config.block_out_channels)
    found = {}
    for name in unet.attn_processors:
        parts = name.split(".")
        kind = "self" if ".attn1." in name else "cross"
        if parts[0] == "mid_block":
            found[name] = ("mid", kind, levels - 1)
        else:
            block = int(parts[1])
            found[name] = (parts[0].split("_")[0], kind, block if parts[0] == "down_blocks" else levels - 1 - block)
    return found


def heads_of(attn, hidden_states, context):
    batch, queries, _ = hidden_states.shape
    split = lambda x: x.view(batch, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)
    query, key, value = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
    return query, key, value, query.shape[-1] ** -0.5


class Store:
    """Stores the head-averaged probabilities of the text branch, one entry per call."""

    def __init__(self, entries):
        self.entries = entries

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value, scale = heads_of(attn, hidden_states, context)
        probs = torch.softmax(query @ key.transpose(-1, -2) * scale, -1)
        self.entries.append(probs[0].mean(0))
        out = (probs @ value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


class Modulate:
    """Restricts the text branch's cross-attention to a mask."""

    def __init__(self, mode, mask, size):
        self.mode, self.mask = mode, F.adaptive_max_pool2d(mask, size).flatten()

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        query, key, value, scale = heads_of(attn, hidden_states, encoder_hidden_states)
        logits = query @ key.transpose(-1, -2) * scale
        probs = torch.softmax(logits, -1)
        out = probs @ value
        if self.mode == "gate":
            gates = self.mask[:, None].repeat(1, probs.shape[-1])
            gates[:, 0] = 1
            out[0] = (probs[0] * gates) @ value[0]
        elif self.mode == "mask":
            closed = (self.mask == 0)[:, None].repeat(1, probs.shape[-1])
            closed[:, 0] = False
            out[0] = torch.softmax(logits[0].masked_fill(closed, -torch.inf), -1) @ value[0]
        else:
            null = torch.softmax(query[0] @ key[1].transpose(-1, -2) * scale, -1) @ value[1]
            out[0] = torch.where(self.mask[:, None] > 0, out[0], null)
        out = out.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def modulated(unet, plain, mode, mask, latent):
    """The processors of pass 2: modulated cross-attention, plain self-attention."""
    found = {}
    for name, (_, kind, level) in sites(unet).items():
        height, width = latent
        for _ in range(level):
            height, width = (height + 1) // 2, (width + 1) // 2
        found[name] = Modulate(mode, mask, (height, width)) if kind == "cross" else plain[name]
    return found


@torch.no_grad()
def record(case, snapshot, latent, icam_level):
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        FIXTURES / "models" / snapshot, torch_dtype=torch.float32, safety_checker=None
    )
    pipe.set_progress_bar_config(disable=True)
    unet, factor = pipe.unet, pipe.vae_scale_factor
    image = picture(latent[1] * factor, latent[0] * factor)
    plain = dict(unet.attn_processors)
    call = lambda: pipe(
        INSTRUCTION, image=image, num_inference_steps=STEPS, guidance_scale=TEXT_GUIDANCE,
        image_guidance_scale=IMAGE_GUIDANCE, generator=torch.Generator().manual_seed(SEED), output_type="np",
    ).images[0]
    out = {"picture": torch.from_numpy(np.array(image))}

    # 1. The plain pipeline.
    out["plain"] = torch.from_numpy((call() * 255).round().astype(np.uint8))

    # 2. Maps of a whole run, self-attention at level 1.
    kept = {"self": [], "cross": []}
    unet.set_attn_processor({
        name: Store(kept[kind]) if stage != "mid" and (kind, level) in (("self", 1), ("cross", icam_level)) else plain[name]
        for name, (stage, kind, level) in sites(unet).items()
    })
    call()
    out["isam"], out["icam"] = torch.stack(kept["self"]).mean(0), torch.stack(kept["cross"]).mean(0)

    # 3. The object's map, and scores of given labels.
    half = tuple((side + 1) // 2 for side in latent)
    icam_grid = latent
    for _ in range(icam_level):
        icam_grid = tuple((side + 1) // 2 for side in icam_grid)
    tokens = pipe.tokenizer(INSTRUCTION, return_offsets_mapping=True, padding="max_length", truncation=True,
                            max_length=pipe.tokenizer.model_max_length)
    start = INSTRUCTION.index(OBJECT)
    columns = [i for i, (a, b) in enumerate(tokens["offset_mapping"]) if a < start + len(OBJECT) and start < b]
    assert columns, tokens
    out["word"] = out["icam"][:, columns].mean(1)
    at_isam = F.interpolate(out["word"].view(1, 1, *icam_grid), half, mode="nearest").flatten()
    rescaled = (at_isam - at_isam.min()) / at_isam.max()
    labels = torch.arange(half[0] * half[1]) * 7 % 5
    out["labels"] = labels
    out["scores"] = torch.stack([rescaled[labels == k].mean() for k in range(5)])

    # 4. One call under each modulation, from given latents.
    generator = torch.Generator().manual_seed(5)
    height, width = image.height, image.width
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4: height // 2 + 1, width // 3: width // 3 + 4] = 1
    out["mask"] = mask[0, 0].to(torch.uint8)
    out["latents"] = torch.randn((1, 4, *latent), generator=generator)
    unet.set_attn_processor(dict(plain))
    embeds = pipe._encode_prompt(INSTRUCTION, "cpu", 1, True)
    pixels = pipe.image_processor.preprocess(image)
    z = pipe.vae.encode(pixels).latent_dist.mode()
    sample = torch.cat([out["latents"].repeat(3, 1, 1, 1), torch.cat([z, z, torch.zeros_like(z)])], 1)
    for mode in ("plain", "gate", "mask", "null"):
        unet.set_attn_processor(dict(plain) if mode == "plain" else modulated(unet, plain, mode, mask, latent))
        out[f"noise_{mode}"] = unet(sample, 500, encoder_hidden_states=embeds).sample

    # 5. The second pass with that mask, whole.
    for mode in ("gate", "mask", "null"):
        unet.set_attn_processor(modulated(unet, plain, mode, mask, latent))
        out[f"edit_{mode}"] = torch.from_numpy((call() * 255).round().astype(np.uint8))
    folder = FIXTURES / "method"
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, folder / f"{case}.safetensors")
    spread = {name: (out[name].float() - out["plain"].float()).abs().mean().item() for name in out if name.startswith("edit_")}
    print(case, {name: list(tensor.shape) for name, tensor in out.items()}, spread, out["scores"])


def main():
    for case in CASES:
        record(*case)
    meta = {
        "instruction": INSTRUCTION, "object": OBJECT, "steps": STEPS, "seed": SEED, "text_guidance": TEXT_GUIDANCE,
        "image_guidance": IMAGE_GUIDANCE, "cases": {case: snapshot for case, snapshot, *_ in CASES},
        "torch": torch.__version__, "diffusers": diffusers.__version__,
    }
    (FIXTURES / "method" / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
