"""Compiles `libretouch_cuda.so` (CUDA graphs, fused layers) and prints its path; needs a C++ compiler, no CUDA toolkit.

    python3 .ci/cuda_library.py FOLDER        # or: make cuda-library

The headers are those of libtorch and of two NVIDIA wheels, unpacked once beside libtorch. Symbols of libtorch's CUDA
library and of the CUDA runtime stay undefined: the process loads both before this library.
"""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import libtorch

HERE = Path(__file__).resolve().parent.parent / "src" / "kernels" / "gpu" / "library"
SOURCES = [HERE / it for it in ("graph.cpp", "fused.cpp", "event.cpp")]
NAME = "libretouch_cuda.so"

# The runtime's headers at the version that torch 2.11.0 pins; they include those of `crt`, versioned as the toolkit.
CRT = {
    "x86_64": "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
    "aarch64": "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003",
}
FLAGS = ["-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(built(Path(sys.argv[1])))
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        sys.exit(f"cuda-library: {error}")


def built(folder: Path) -> Path:
    """Path of the library in this folder, recompiled if a source is newer."""
    library = folder / NAME
    newest = max(it.stat().st_mtime for it in (*SOURCES, HERE / "guarded.h"))
    if library.exists() and library.stat().st_mtime >= newest:
        return library
    own = os.environ.get("LIBTORCH")
    torch = libtorch.view(Path(own).resolve()) if own else libtorch.fetched()
    folder.mkdir(parents=True, exist_ok=True)
    part = library.with_suffix(".part")
    includes = [f"-isystem{it}" for it in (torch / "include", headers())]
    subprocess.run([os.environ.get("CXX", "c++"), *FLAGS, *includes, *map(str, SOURCES), "-o", str(part), "-ldl"], check=True)
    part.rename(library)
    return library


def headers() -> Path:
    """The CUDA runtime's headers, downloaded once."""
    folder = libtorch.HOME / "cuda-headers"
    if folder.exists():
        return folder
    runtime = {it: digest for it, digest in libtorch.WHEELS[platform.machine()].items() if "cuda-runtime" in it}
    with libtorch.alone():
        wheels = {**runtime, "nvidia-cuda-crt==13.0.88": CRT[platform.machine()]}
        downloads = libtorch.download(wheels, "the CUDA runtime's headers")
        part = libtorch.fresh(libtorch.HOME / "part")
        for wheel in sorted(downloads.glob("nvidia_cuda_*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(part, [it for it in archive.namelist() if "/include/" in it])
        next(part.glob("nvidia/*/include")).rename(folder)
        shutil.rmtree(part)
        shutil.rmtree(downloads)
    return folder


if __name__ == "__main__":
    main()
