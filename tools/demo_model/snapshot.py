"""Turns a run's checkpoint into a standard diffusers snapshot, and loads either.

    python snapshot.py runs/demo runs/exported --judged runs/judged
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

import architectures
from model_card import card
from models import PRESETS
from worlds import WORLDS


def from_run(run: Path) -> DiffusionPipeline:
    """Builds the pipeline of a run's averaged weights, in fp32."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    preset = PRESETS[state["preset"]]
    architecture = architectures.of(preset)
    tokenizer = architecture.open_tokenizer(run / "tokenizer", WORLDS[preset.world].words)
    networks = architecture(preset, tokenizer)
    for (_, param), value in zip(networks.parameters, state["average"], strict=True):
        param.data.copy_(value)
    return networks.pipeline(architecture.open_vae(run / "vae", preset).eval())


def load(folder: Path) -> tuple[type[architectures.Architecture], DiffusionPipeline]:
    """Loads a run or a snapshot, in fp32; returns it with its architecture."""
    if (folder / "checkpoint.pt").exists():
        pipe = from_run(folder)
        return architectures.of_pipeline(type(pipe).__name__), pipe
    architecture = architectures.of_pipeline(json.loads((folder / "model_index.json").read_text())["_class_name"])
    pipe = architecture.pipeline_class.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)
    return architecture, pipe


def export(run: Path, folder: Path, judged: Path | None) -> None:
    """Writes the snapshot of `run` in fp16, with the figures of `judged` in its card."""
    pipe = from_run(run).to(torch.float16)
    pipe.save_pretrained(folder)
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    (folder / "MODEL_CARD.md").write_text(card(run, judged, sum(p.numel() for part in parts for p in part.parameters())))
    config = folder / "vae" / "config.json"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "_name_or_path" not in line))
    architectures.of_pipeline(type(pipe).__name__).export(pipe, run, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judged", type=Path, help="what judge.py wrote for the run (scenes of shapes alone)")
    args = parser.parse_args()
    export(args.run, args.folder, args.judged)
