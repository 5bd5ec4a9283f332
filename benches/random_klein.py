"""Writes FLUX.2-klein at its published width with random weights: the transformer's blocks as wide as the 4B model's, fewer of
them so that they fit into any memory, the whole autoencoder, and a short text encoder.

    python benches/random_klein.py FOLDER

One double and two single blocks are 2 GB in fp32. What a block costs needs neither trained weights nor the other 22.
"""

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "record"))
import klein_snapshots as snapshots  # noqa: E402

SEED = 0
DOUBLE, SINGLE = 1, 2
SIZES = {
    "distilled": True,
    "text": dict(
        hidden_size=2560, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2, head_dim=128
    ),
    "taps": (1, 2, 3),
    "tokens": 512,
    "transformer": dict(
        num_layers=DOUBLE, num_single_layers=SINGLE, attention_head_dim=128, num_attention_heads=24,
        axes_dims_rope=(32, 32, 32, 32), timestep_guidance_channels=256, mlp_ratio=3.0, rope_theta=2000,
    ),
    "vae": dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=32, norm_num_groups=32, sample_size=1024),
}


def write(folder: Path) -> None:
    torch.manual_seed(SEED)
    snapshots.save(snapshots.build(SIZES), SIZES, folder)


def write_apart(folder: Path) -> None:
    """Writes it in a process of its own: the peak memory that is told of a child is never below that of whoever started it."""
    print(f"writing random weights of the published width to {folder}", file=sys.stderr)
    subprocess.run([sys.executable, __file__, folder], check=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
