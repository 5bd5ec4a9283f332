"""Makes tiny autoencoders with random weights, and records what diffusers' class and TAESD's own network make of them.

    python tests/record/tiny.py [TAEF2]

TAEF2 is a folder with the trained weights of TAEF2, `taef2_encoder.safetensors` and `taef2_decoder.safetensors` (MIT,
github.com/madebyollin/taesd). With it, five crops of scikit-image's photographs are written, and how near the reference comes
to them. The weights are not: they lie outside the repository. The photographs are CC0 or in the public domain
(tests/fixtures/tiny/LICENSES.md).
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import skimage
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert diffusers.__version__ == "0.42.1", diffusers.__version__
OUT = Path(__file__).resolve().parent.parent / "fixtures" / "tiny"
SEED = 25
WIDTH = 8
# The upper left corner of a crop of each photograph.
CROPS = {"astronaut": (150, 40), "chelsea": (130, 60), "coffee": (180, 120), "rocket": (250, 150), "retina": (500, 300)}
SIDE = 128


def conv(n_in, n_out, **kwargs):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **kwargs)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """taesd.py's, of any width."""

    def __init__(self, width, pools):
        super().__init__()
        self.conv = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width))
        self.pool = None
        if pools:
            one = lambda n_in, n_out: nn.Conv2d(n_in, n_out, 1, bias=False)
            wide = 4 * width
            self.pool = nn.Sequential(one(width, wide), nn.GroupNorm(4, wide), nn.ReLU(), one(wide, width))

    def forward(self, x):
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def encoder(channels, width=64, pools=False):
    """taesd.py's `Encoder`."""
    halve = lambda: conv(width, width, stride=2, bias=False)
    block = lambda: Block(width, False)
    last = [Block(width, pools) for _ in range(3)]
    return nn.Sequential(
        conv(3, width), block(), halve(), block(), block(), block(), halve(), block(), block(), block(), halve(), *last,
        conv(width, channels),
    )  # fmt: skip


def decoder(channels, width=64, pools=False):
    """taesd.py's `Decoder`."""
    block = lambda: Block(width, False)
    grow = lambda: [nn.Upsample(scale_factor=2), conv(width, width, bias=False)]
    first = [Block(width, pools) for _ in range(3)]
    return nn.Sequential(
        Clamp(), conv(channels, width), nn.ReLU(), *first, *grow(), block(), block(), block(), *grow(), block(), block(),
        block(), *grow(), block(), conv(width, 3),
    )  # fmt: skip


@torch.no_grad()
def main():
    torch.manual_seed(SEED)
    OUT.mkdir(exist_ok=True)
    record = {}
    # TAESD: a folder of diffusers' class, and its decoder in the original layout.
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4, decoder_block_out_channels=(WIDTH,) * 4, latent_channels=4
    )
    randomize(tiny)
    tiny.half().save_pretrained(OUT / "taesd")
    tiny.float()
    latents, pixels = 2 * torch.randn(2, 4, 5, 3), torch.rand(2, 3, 40, 24) * 2 - 1
    record |= {"taesd.latents": latents, "taesd.decoded": tiny.decode(latents).sample}
    record |= {"taesd.pixels": pixels, "taesd.encoded": tiny.encode(pixels).latents}
    original = decoder(4, WIDTH)
    original.load_state_dict(
        {f"{int(key.split('.')[2]) + 1}.{key.split('.', 3)[3]}": it for key, it in tiny.state_dict().items() if key.startswith("decoder.")}
    )
    assert torch.allclose(original(latents) * 2 - 1, tiny.decode(latents).sample, atol=1e-5)
    save(original, "taesd_decoder")
    # TAEF2: both halves in the original layout.
    halves = encoder(6, WIDTH, True), decoder(6, WIDTH, True)
    for half in halves:
        randomize(half)
    latents = 2 * torch.randn(2, 6, 5, 3)
    record |= {"taef2.latents": latents, "taef2.decoded": halves[1](latents) * 2 - 1}
    record |= {"taef2.pixels": pixels.clone(), "taef2.encoded": halves[0]((pixels + 1) / 2)}
    save(halves[0], "taef2_encoder")
    save(halves[1], "taef2_decoder")
    save_file({key: it.contiguous() for key, it in record.items()}, OUT / "record.safetensors")
    for folder in sys.argv[1:]:
        photographs(Path(folder))
    print(f"seed {SEED}, {sum(it.stat().st_size for it in OUT.rglob('*') if it.is_file()) / 1000:.0f} kB")


def randomize(module):
    for key, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape)
        if parameter.ndim == 1:
            value = (1 if ".pool.1.weight" in key else 0) + 0.2 * noise
        else:
            value = 1.2 * noise / parameter[0].numel() ** 0.5
        parameter.copy_(value.half().float())


def save(half, name):
    save_file({key: it.half().contiguous() for key, it in half.state_dict().items()}, OUT / f"{name}.safetensors")


def photographs(folder):
    """Crops, and the reference's PSNR of each after encoding and decoding by the trained weights."""
    halves = encoder(32, pools=True), decoder(32, pools=True)
    for half, name in zip(halves, ("encoder", "decoder")):
        half.load_state_dict({key: it.float() for key, it in load_file(folder / f"taef2_{name}.safetensors").items()})
    figures = {}
    for name, (top, left) in CROPS.items():
        (path,) = (Path(skimage.__file__).parent / "data").glob(f"{name}.*")
        picture = Image.open(path).convert("RGB").crop((left, top, left + SIDE, top + SIDE))
        picture.save(OUT / f"{name}.png", optimize=True)
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255
        shown = (halves[1](halves[0](pixels)).clamp(0, 1) * 255).round() / 255
        figures[name] = round(float(-10 * (shown - pixels).square().mean().log10()), 4)
    print(figures)
    (OUT / "photographs.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
