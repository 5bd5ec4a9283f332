"""Records fixtures of tests/it/picture: Pillow's resized pictures, files that only Pillow writes, torch's grid rules.

Run from the repository root: python tests/record/picture.py
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image

assert PIL.__version__ == "13.0.0", PIL.__version__
assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__

SEED = 20
OUT = Path("tests/fixtures/picture")
FILTERS = {
    "lanczos": [(32, 24), (100, 80), (61, 20), (128, 47), (7, 5)],
    "bicubic": [(32, 24), (100, 80)],
    "bilinear": [(32, 24), (100, 80)],
    "box": [(32, 24), (100, 80)],
}


def scene(width, height):
    """Gradients, a hard edge and noise, so that weights, clipping and rounding all show."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 / width, y * 255 / height, (x + y) % 64 * 4], -1)
    image[(x > width // 2) & (y > height // 2)] = 255
    image[(x < width // 4) & (y > height // 2)] = 0
    image += (x < width // 2)[..., None] * rng.normal(0, 20, image.shape)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8), "RGB")


def record_resized():
    source = scene(61, 47)
    source.save(OUT / "resize_source.png")
    for name, sizes in FILTERS.items():
        for size in sizes:
            resized = source.resize(size, Image.Resampling[name.upper()])
            resized.save(OUT / f"resize_{name}_{size[0]}x{size[1]}.png")
    gray = source.convert("L")
    gray.save(OUT / "resize_gray_source.png")
    gray.resize((32, 80), Image.Resampling.BILINEAR).save(OUT / "resize_gray_bilinear_32x80.png")


def record_files():
    picture = scene(40, 30)
    picture.quantize(16).save(OUT / "palette.png")
    palette = picture.quantize(16)
    palette.info["transparency"] = 3
    palette.save(OUT / "palette_transparent.png", transparency=3)
    picture.convert("1").save(OUT / "one_bit.png")
    picture.save(OUT / "progressive.jpg", progressive=True, quality=90)
    picture.convert("L").save(OUT / "gray.jpg", quality=90)
    picture.save(OUT / "restarts.jpg", quality=90, restart_marker_blocks=2)
    picture.save(OUT / "progressive_restarts.jpg", quality=90, progressive=True, restart_marker_rows=1)
    picture.save(OUT / "odd_sampling.jpg", quality=90, subsampling="4:2:2", progressive=True)
    record_interlaced(picture)
    picture.convert("CMYK").save(OUT / "cmyk.jpg", quality=90)
    picture.save(OUT / "lossy.webp", quality=90)
    faded = picture.copy()
    faded.putalpha(picture.convert("L"))
    faded.save(OUT / "lossy_alpha.webp", quality=90, exact=True)
    frames = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    frames[0].save(OUT / "animated.png", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(OUT / "animated.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    picture.save(OUT / "picture.png")


def record_interlaced(picture):
    """A PNG in the seven passes of Adam7, which Pillow reads and does not write."""
    pixels = np.asarray(picture)
    rows = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::dy, x::dx])
    def chunk(tag, body):
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    header = struct.pack(">IIBBBBB", *picture.size, 8, 2, 0, 0, 1)
    file = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    (OUT / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + file)
    assert np.array_equal(np.asarray(Image.open(OUT / "interlaced.png")), pixels)


def record_grids():
    torch.manual_seed(SEED)
    nearest = []
    for source, target in [(16, 37), (64, 500), (7, 1000), (13, 26), (24, 853), (40, 40), (50, 21)]:
        row = torch.arange(source, dtype=torch.float32).view(1, 1, 1, source)
        grid = torch.nn.functional.interpolate(row, size=(1, target), mode="nearest")
        nearest.append({"from": source, "to": target, "index": grid.flatten().int().tolist()})
    pooled = []
    for size, grid in [((30, 41), (8, 8)), ((64, 64), (16, 16)), ((5, 7), (8, 11)), ((100, 37), (12, 9))]:
        mask = (torch.rand(size) < 0.03).float()
        pool = torch.nn.functional.adaptive_max_pool2d(mask[None, None], grid)
        pooled.append({
            "height": size[0], "width": size[1], "mask": mask.int().flatten().tolist(),
            "rows": grid[0], "columns": grid[1], "pooled": pool.int().flatten().tolist(),
        })
    (OUT / "grids.json").write_text(json.dumps({"nearest": nearest, "pooled": pooled}) + "\n")


OUT.mkdir(parents=True, exist_ok=True)
record_resized()
record_files()
record_grids()
print(f"recorded with Pillow {PIL.__version__}, torch {torch.__version__}, seed {SEED}")
