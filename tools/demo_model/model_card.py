"""The model card of an exported snapshot, from the run's settings, its log and its judged edits."""

import json
from pathlib import Path

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---

# retouch demo model

A tiny InstructPix2Pix ({millions:.1f} M parameters, fp16) that edits drawn {size}x{size} scenes of simple shapes: it shows and measures
localized editing where no large model is at hand. It knows nothing but such scenes, eight nouns, eight colors and
the actions change, recolor, remove and add.

    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipe("make the red star blue", image, num_inference_steps=50, guidance_scale=4.0, image_guidance_scale=1.3)

## Training

- **Data**: pairs drawn by `tools/demo_model` of the retouch project (source, instruction, exact target and mask); no photographs, no
  pictures or texts of others.
- **This run**: {steps} steps, {pairs} (batch {batch}), {minutes:.0f} minutes on {device}; AdamW and Muon, peak rate {rate}, averaged weights.
{origin}- **Loss**: squared error of v, weighted {inside:g} times more where the picture changes (last logged mean: {loss:.3f}), plus {grounding:g} times a
  grounding loss on attention. Text, picture and both are each left out for 5 % of the pairs.
- **Autoencoder**: trained on the scenes' pictures; then its decoder on pairs, so that latents that change in one place change the picture there
  (`train_vae.py`; what that gives stands in docs/ablations.md of the project).
- **The attention maps were taught**: {taught}

## Figures

Held-out pairs, stock diffusers pipeline, {sampling}. `right`: inside the mask nearer to the target than to the source, shape and color agree, the
rest kept (`tools/demo_model/README.md`); `rel`: squared error to the target relative to the untouched picture's; `outside`: mean change outside the
mask against the autoencoder's reconstruction, in levels of 255.

{table}

## Limits

One object per instruction, phrases as in the training data, one picture size. Details of cluttered backgrounds behind a removed object are invented.

Licence: Apache-2.0, as the project's code.
"""
TAUGHT = """while training, the attention to the words of the object was pulled onto the object's known mask. Figures
  of localization on this model show what a method does with well-behaved maps; they say nothing about maps of models that were not taught. Trained
  alike without it, a model's words do not find their objects at all (IoU 0.01 instead of 0.52; docs/ablations.md of the project)."""
UNTAUGHT = "no. This run had no grounding loss, so words' attention need not lie on their objects."


def card(run: Path, judged: Path, parameters: int) -> str:
    """Returns the card of `run` with the table in `judged`."""
    settings = json.loads((run / "settings.json").read_text())
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    report = (judged / "edited.md").read_text().split("\n\n", 2)
    origin = f"- **Before**: {settings['origin']}\n" if settings.get("origin") else ""
    return CARD.format(
        millions=parameters / 1e6,
        size=settings["size"],
        steps=last["step"],
        pairs=f"{last['drawn']} pairs" + (f", each shown {settings['times']} times" if settings["times"] > 1 else ""),
        batch=settings["batch"],
        minutes=last["seconds"] / 60,
        device=settings["device"],
        rate=settings["rate"],
        origin=origin,
        inside=settings["inside"],
        loss=last["loss"],
        grounding=settings["grounding"],
        taught=TAUGHT if settings["grounding"] else UNTAUGHT,
        sampling=report[1],
        table=report[2].strip(),
    )
