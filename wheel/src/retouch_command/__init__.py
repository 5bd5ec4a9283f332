"""Starts the `retouch` in this folder with the libtorch of the PyTorch that this Python has."""

import os
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

TORCH = "2.11."
"""The versions of PyTorch whose libtorch the binary was built with begin so."""


def libraries() -> list[Path]:
    """Folders of libtorch and of what it needs. Nothing is imported: that would take seconds."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        sys.exit(f"retouch: this Python ({sys.prefix}) has no PyTorch: pip install torch=={TORCH}0")
    found = metadata.version("torch")
    if not found.startswith(TORCH):
        sys.exit(f"retouch: this Python ({sys.prefix}) has PyTorch {found}, not {TORCH}0: pip install torch=={TORCH}0")
    nvidia = find_spec("nvidia")
    needed = [lib for it in (nvidia.submodule_search_locations or []) for lib in sorted(Path(it).glob("*/lib"))] if nvidia else []
    return [Path(torch.origin).with_name("lib"), *needed]


def main() -> None:
    """The command `retouch`: becomes the binary."""
    folders = [*map(str, libraries()), *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}
    os.execve(Path(__file__).with_name("retouch"), ["retouch", *sys.argv[1:]], environment)
