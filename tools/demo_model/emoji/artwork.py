"""Emoji of three openly licensed sets as pictures with exact alpha. Twemoji is held out: no training sees it.

    python -m emoji.artwork runs/artwork

Needs npm; fetches 6 MB of vectors, draws the nouns' icons and keeps 3 MB of PNG files. The repository holds none.
"""

import argparse
import io
import json
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

FOLDER = Path(os.environ.get("ARTWORK", Path(__file__).parent.parent / "runs" / "artwork"))
"""Where the drawn icons lie."""
# Side on which an icon is drawn, in pixels, before its empty border is cut off.
SIDE = 256


@dataclass(frozen=True)
class Style:
    """A set of emoji."""

    package: str
    author: str
    licence: str
    held_out: bool = False


STYLES = {
    "noto": Style("@iconify-json/noto@1.2.9", "Google Inc", "Apache-2.0"),
    "fluent": Style("@iconify-json/fluent-emoji-flat@1.2.6", "Microsoft Corporation", "MIT"),
    "twemoji": Style("@iconify-json/twemoji@1.2.5", "Twitter, Inc and other contributors", "CC-BY-4.0", held_out=True),
}

# The sets' own names of the icons, where the noun is another word.
NAMES = {
    "bee": "honeybee",
    "cat": "cat-face",
    "dog": "dog-face",
    "pig": "pig-face",
    "mouse": "mouse-face",
    "rabbit": "rabbit-face",
    "cow": "cow-face",
    "ladybug": "lady-beetle",
    "fish": "tropical-fish",
    "apple": "red-apple",
    "orange": "tangerine",
    "burger": "hamburger",
    "donut": "doughnut",
    "lightbulb": "light-bulb",
    "hat": "top-hat",
    "heart": "red-heart",
    "gift": "wrapped-gift",
    "clock": "alarm-clock",
    "car": "automobile",
    "boat": "sailboat",
    "tree": "deciduous-tree",
    "moon": "crescent-moon",
}


def _icons(package: str) -> dict:
    """Fetches a package and returns its table of icons."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as files:
            return json.load(files.extractfile("package/icons.json"))


def _drawn(icons: dict, name: str) -> Image.Image:
    """Draws an icon and cuts off its empty border."""
    import resvg_py  # for fetching alone

    while name in icons.get("aliases", {}):
        name = icons["aliases"][name]["parent"]
    icon, side = icons["icons"][name], icons.get("height", 16)
    width, height = icon.get("width", icons.get("width", side)), icon.get("height", side)
    text = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
    text += f'height="{height}" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=text, width=SIDE, height=SIDE, skip_system_fonts=True)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return picture.crop(picture.getchannel("A").getbbox())


def fetch(folder: Path, nouns: tuple[str, ...]) -> None:
    """Draws every noun's icon in every style into `folder`, one that is there already excepted."""
    for name, style in STYLES.items():
        missing = [noun for noun in nouns if not (folder / name / f"{noun}.png").exists()]
        if not missing:
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        icons = _icons(style.package)
        for noun in missing:
            _drawn(icons, NAMES.get(noun, noun)).save(folder / name / f"{noun}.png")


@lru_cache(maxsize=512)
def icon(style: str, noun: str) -> Image.Image:
    """Returns a drawn icon, RGBA, without an empty border."""
    file = FOLDER / style / f"{noun}.png"
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there: draw the artwork first, python -m emoji.artwork {FOLDER}")
    picture = Image.open(file)
    picture.load()
    return picture


if __name__ == "__main__":
    from emoji.vocabulary import NOUNS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    fetch(parser.parse_args().folder, NOUNS)
