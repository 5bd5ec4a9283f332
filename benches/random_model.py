"""Writes InstructPix2Pix at full size with random weights: the layout and the shapes of timbrooks/instruct-pix2pix.

    python benches/random_model.py FOLDER

4.3 GB in fp32. Times, memory and parity need no trained weights; what such a model draws means nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

MERGES = Path(__file__).resolve().parent.parent / "assets" / "clip" / "merges.txt"
SEED = 0


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        cross_attention_dim=768,
        attention_head_dim=8,
    )


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
        scaling_factor=0.18215,
    )


def text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_attention_heads=12,
            num_hidden_layers=12,
            max_position_embeddings=77,
            projection_dim=768,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )


def byte_symbols() -> list[str]:
    """The 256 symbols that stand for bytes in CLIP's byte-level BPE, in the order of its vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer(folder: Path) -> None:
    """CLIP's own, from its merges."""
    folder.mkdir(parents=True)
    merges = [line for line in MERGES.read_text("utf-8").splitlines() if line and not line.startswith("#version")]
    symbols = byte_symbols()
    words = [*symbols, *(f"{it}</w>" for it in symbols), *("".join(it.split()) for it in merges)]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    assert len(vocabulary) == 49408, len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    config = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write(folder: Path, dtype: str = "float32", device: str = "cpu") -> None:
    """Writes the snapshot, network by network."""
    torch.manual_seed(SEED)
    for name, network in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        with torch.device(device):
            made = network().to(getattr(torch, dtype))
        made.save_pretrained(folder / name)
    write_tokenizer(folder / "tokenizer")
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, steps_offset=1
    )
    scheduler.save_pretrained(folder / "scheduler")
    # Last, as it says that all is there.
    index = {
        "_class_name": "StableDiffusionInstructPix2PixPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def write_apart(folder: Path) -> None:
    """Writes it in a process of its own: the peak memory that is told of a child is never below that of whoever started it."""
    print(f"writing random weights of full size to {folder}", file=sys.stderr)
    subprocess.run([sys.executable, __file__, folder], check=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
