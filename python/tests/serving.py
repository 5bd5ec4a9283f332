"""`retouch serve` with the demo model, on ports of its own; can be killed and started again on the same data."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "assets" / "example.png"
INSTRUCTION = "change the black tree to blue"
START = 120
"""Seconds that a server may take to be ready on a busy machine."""


def binary() -> Path:
    """The binary of this build, or the one that RETOUCH_BINARY names."""
    built = [ROOT / "target" / kind / "retouch" for kind in ("release", "debug")]
    given = os.environ.get("RETOUCH_BINARY")
    found = next((it for it in [Path(given)] if it.exists()), None) if given else next(filter(Path.exists, built), None)
    assert found is not None, "there is no retouch in target/: run `make build`"
    return found


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Server:
    """A running server."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port, self.ops = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RETOUCH_")},
            "RETOUCH__SERVER__LISTEN": f"127.0.0.1:{self.port}",
            "RETOUCH__SERVER__OPS_LISTEN": f"127.0.0.1:{self.ops}",
            "RETOUCH__JOBS__DATA_DIR": str(folder / "data"),
            **settings,
        }
        self.start()

    def start(self) -> None:
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen([binary(), "serve"], cwd=self.folder, env=self.environment, stderr=log)
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.kill()
        raise AssertionError(f"the server is not ready:\n{(self.folder / 'serve.log').read_text()}")

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    server = Server(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


def key(folder: Path) -> tuple[Path, str]:
    """A keys file, and the key of a tenant in it."""
    command = [str(binary()), "keys", "new", "--tenant", "acme", "--scope", "edit"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    file = folder / "keys.toml"
    file.write_text(done.stdout)
    return file, done.stderr.split()[-1]


def quick_model(folder: Path) -> Path:
    """The demo model, but that it recommends few steps: for tests that are not about how many there are."""
    model = folder / "demo-model"
    shutil.copytree(ROOT / "assets" / "demo-model", model)
    settings = model / "retouch.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "steps": 3}))
    return model


def nginx() -> str | None:
    """The path of nginx; Debian installs servers in sbin folders."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
