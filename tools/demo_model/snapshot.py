"""Turns a run's checkpoint into a standard diffusers snapshot, and loads either.

    python snapshot.py runs/demo runs/exported --judged runs/judged
"""

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline
from transformers import CLIPTokenizer

from model_card import card
from models import PRESETS, new_scheduler, new_text_encoder, new_unet


def from_run(run: Path) -> StableDiffusionInstructPix2PixPipeline:
    """Builds the pipeline of a run's averaged weights, in fp32."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(run / "tokenizer")
    preset = PRESETS[state["preset"]]
    unet, text = new_unet(preset), new_text_encoder(preset, tokenizer)
    for param, value in zip([*unet.parameters(), *text.parameters()], state["average"], strict=True):
        param.data.copy_(value)
    return StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL.from_pretrained(run / "vae", dtype=torch.float32, low_cpu_mem_usage=False),
        text_encoder=text.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def load(folder: Path) -> StableDiffusionInstructPix2PixPipeline:
    """Loads a run or a snapshot, in fp32."""
    if (folder / "checkpoint.pt").exists():
        return from_run(folder)
    return StableDiffusionInstructPix2PixPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, low_cpu_mem_usage=False
    )


def export(run: Path, folder: Path, judged: Path | None) -> None:
    """Writes the snapshot of `run` in fp16, with the tokenizer in both of its forms and the figures of `judged` in its card."""
    pipe = from_run(run).to(torch.float16)
    pipe.save_pretrained(folder)
    parameters = sum(p.numel() for part in (pipe.unet, pipe.text_encoder, pipe.vae) for p in part.parameters())
    (folder / "MODEL_CARD.md").write_text(card(run, judged, parameters))
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(run / "tokenizer" / name, folder / "tokenizer" / name)
    config = folder / "vae" / "config.json"
    config.write_text("".join(line for line in config.open() if "_name_or_path" not in line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judged", type=Path, help="what judge.py wrote for the run (shapes alone)")
    args = parser.parse_args()
    export(args.run, args.folder, args.judged)
