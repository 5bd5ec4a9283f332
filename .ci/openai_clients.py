"""Tests the HTTP API by clients that nobody here wrote.

OpenAI's packages for Python and JavaScript, curl as docs/http.md has it, Open WebUI's request.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tour

PAGE = tour.ROOT / "docs" / "http.md"
PINS = tour.ROOT / ".ci" / "openai.txt"
NPM = "openai@6.49.0"
"""The newest that runs on Node.js 20."""


def python_with_openai() -> Path:
    """The Python client's environment with the packages of these tests in it."""
    python, _ = tour.python_with_client()
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", PINS], check=True)
    return python


def npm_packages() -> Path:
    """The folder of the JavaScript package, installed once."""
    home = tour.TOOLS / NPM.replace("@", "-")
    if not (home / "node_modules" / "openai").exists():
        tour.need("npm", "install Node.js, which brings it")
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--prefix", home, NPM], check=True)
    return home


def javascript(site, folder: Path, mask: bytes) -> str:
    """Runs the calls of the JavaScript package; returns what failed."""
    (folder / "mask.png").write_bytes(mask)
    # It finds its package beside itself.
    script = shutil.copy(tour.ROOT / ".ci" / "openai_calls.mjs", npm_packages())
    command = ["node", script, site.url, site.key, tour.ROOT / "assets" / "example.png", folder / "mask.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.stderr if done.returncode else ""


def curl(server, folder: Path) -> str:
    """Runs the page's shell blocks as a newcomer pastes them, in a folder with only the assets; returns what failed."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    if not any("curl" in it for it in blocks):
        return f"{PAGE.name} has no block with curl"
    (folder / "assets").symlink_to(tour.ROOT / "assets")
    lines = "\n".join(blocks).replace("localhost:50051", f"localhost:{server.port}")
    command = ["bash", "-e", "-o", "pipefail", "-c", lines]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not (folder / "edited.png").read_bytes().startswith(b"\x89PNG"):
        return f"{done.stdout}{done.stderr}\n{PAGE.name} ends with {done.returncode}"
    return ""


def main() -> None:
    if "openai" not in sys.argv:
        python = python_with_openai()
        os.execv(python, [python, __file__, "openai"])
    sys.path.insert(0, str(tour.ROOT / "python" / "tests"))
    import openai_calls as calls
    import serving

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder, faults = Path(name), []
        # The page's lines send no key.
        with serving.serving(folder) as server:
            faults += filter(None, [curl(server, folder)])
        keys, key = serving.key(folder)
        with serving.serving(folder, RETOUCH__AUTH__KEYS_FILE=str(keys)) as server:
            site = calls.Site(server, key)
            for call in calls.CALLS:
                try:
                    call(site)
                except Exception as error:  # noqa: BLE001: every fault is told at once
                    faults.append(f"{call.__name__}: {type(error).__name__}: {error}")
            mask = calls.transparent((8, 8, 40, 40)).read()
            faults += filter(None, [javascript(site, folder, mask)])
        if faults:
            sys.exit("openai:\n" + "\n".join(faults))
    seconds = time.monotonic() - started
    count = len(calls.CALLS)
    print(f"openai: {count} calls by Python and Open WebUI, JavaScript's, and {PAGE.name}'s, in {seconds:.0f} s")


if __name__ == "__main__":
    main()
