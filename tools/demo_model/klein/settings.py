"""The `retouch.json` of a trained klein: what is the model's, and with which settings retouch uses it."""

import json
from pathlib import Path

from klein.tokenizer import LENGTH

# The shipped model's, which is of the same world: its words are this model's as well.
SHIPPED = Path(__file__).parents[3] / "assets" / "demo-model" / "retouch.json"
WORDING = ("nouns", "noun_prompt", "edit_instruction", "localization_instruction")
# Settings of the shipped model that mean the same here. They were chosen on a U-Net; nothing was measured with a klein.
UNMEASURED = ("clusters", "tau", "rows", "refine", "grow", "modulation", "blend")
# Chosen by thought alone, for a small model that was not distilled.
REASONED = {"steps": 20, "localize_steps": 10, "averaged": [0.0, 0.3], "text_guidance": 4.0}


def write(folder: Path, taps: list[int]) -> None:
    """Writes it to a snapshot's folder. `taps` are the layers of the text encoder that are read."""
    shipped = json.loads(SHIPPED.read_text())
    prompt = {"text_encoder_out_layers": taps, "max_sequence_length": LENGTH}
    settings = {**prompt, **REASONED, **{key: shipped[key] for key in (*UNMEASURED, *WORDING)}}
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in settings.items())
    (folder / "retouch.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
