"""The model card of an exported snapshot, from the run's settings, its log and its judged edits."""

import json
from pathlib import Path

from models import PRESETS, KleinShape, UNetShape

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---

# retouch demo model

A tiny {kind} ({millions:.1f} M parameters, fp16) that edits {size}x{size} {scenes}: it shows and measures
localized editing where no large model is at hand. It knows nothing but such scenes, {knows} and
the actions change, recolor, remove and add.

{usage}

## Training

- **Data**: pairs drawn by `tools/demo_model` of the retouch project (source, instruction, exact target and mask); {data}
- **This run**: {steps} steps, {pairs} (batch {batch}), {minutes:.0f} minutes on {device}; AdamW and Muon, peak rate {rate}, averaged weights.
{origin}- **Loss**: squared error of {predicted}, weighted {inside:g} times more where the picture changes (last logged mean: {loss:.3f}), plus {grounding:g} times a
  grounding loss on attention. {dropped}
- **Autoencoder**: trained on the scenes' pictures; then its decoder on pairs, so that latents that change in one place change the picture there
  (`train_vae.py`; what that gives stands in docs/ablations.md of the project).
{preview}- **The attention maps were taught**: {taught}

## Figures

{figures}

## Limits

One object per instruction, phrases as in the training data, one picture size. Details of cluttered backgrounds behind a removed object are invented.

Licence: Apache-2.0, as the project's code.
"""
JUDGED = """Held-out pairs, stock diffusers pipeline, {sampling}. `right`: inside the mask nearer to the target than to the source, shape and color agree, the
rest kept (`tools/demo_model/README.md`); `rel`: squared error to the target relative to the untouched picture's; `outside`: mean change outside the
mask against the autoencoder's reconstruction, in levels of 255.

{table}"""
NOT_JUDGED = "By `retouch eval` on scenes of `make_heldout.py`: docs/evaluation.md of the project."
PREVIEW = """- **Preview decoder** (`preview_decoder`, where it is there: diffusers' `AutoencoderTiny` without its encoder): trained against the autoencoder's
  own decoder (`train_preview.py`). It shows previews, and decides no pixel of an edit.
"""
# What the card says of each kind of model.
KIND_FACTS = {
    UNetShape: {
        "kind": "InstructPix2Pix",
        "usage": """    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipe("{example}", image, num_inference_steps=50, guidance_scale=4.0, image_guidance_scale=1.3)""",
        "predicted": "v",
        "dropped": "Text, picture and both are each left out for 5 % of the pairs.",
        "preview": PREVIEW,
    },
    KleinShape: {
        "kind": "FLUX.2-klein, of the base kind with guidance",
        "usage": """    pipe = diffusers.Flux2KleinPipeline.from_pretrained(FOLDER)
    said = dict(max_sequence_length=..., text_encoder_out_layers=...)     # as in retouch.json
    pipe(image, "{example}", num_inference_steps=20, guidance_scale=4.0, **said)""",
        "predicted": "the velocity of a rectified flow",
        "dropped": "The text is left out for 10 % of the pairs.",
        "preview": "",
    },
}
# What the card says of each world.
WORLD_FACTS = {
    "shapes": {
        "scenes": "drawn scenes of simple shapes",
        "knows": "eight nouns, eight colors",
        "example": "make the red star blue",
        "data": "no photographs, no\n  pictures or texts of others.",
    },
    "emoji": {
        "scenes": "scenes of emoji over photographs",
        "knows": "59 nouns, seven colors of twelve of them",
        "example": "change the bee to a bird",
        "data": """emoji of Noto (Google
  Inc, Apache-2.0) and Fluent (Microsoft Corporation, MIT) over photographs whose licences allow it (`photographs.py` names each with its
  author); none of either is in the weights' folder. Twemoji and further photographs are held out.""",
    },
}
TAUGHT = """while training, the attention to the words of the object was pulled onto the object's known mask. Figures
  of localization on this model show what a method does with well-behaved maps; they say nothing about maps of models that were not taught. Trained
  alike without it, the words of an InstructPix2Pix do not find their objects at all (IoU 0.01 instead of 0.52; docs/ablations.md of the project)."""
UNTAUGHT = "no. This run had no grounding loss, so words' attention need not lie on their objects."


def _figures(judged: Path | None) -> str:
    if judged is None:
        return NOT_JUDGED
    _, sampling, table = (judged / "edited.md").read_text().split("\n\n", 2)
    return JUDGED.format(sampling=sampling, table=table.strip())


def card(run: Path, judged: Path | None, parameters: int) -> str:
    """Returns the card of `run` with the table in `judged`, if it was judged."""
    settings = json.loads((run / "settings.json").read_text())
    preset = PRESETS[settings["preset"]]
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    origin = f"- **Before**: {settings['origin']}\n" if settings.get("origin") else ""
    world, kind = WORLD_FACTS[preset.world], KIND_FACTS[type(preset.networks)]
    return CARD.format(
        millions=parameters / 1e6,
        size=preset.pixels,
        **world,
        **{**kind, "usage": kind["usage"].format(**world)},
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
        figures=_figures(judged),
    )
