"""Builds the studio's page again and compares it with assets/studio; runs its tests, in Chromium against a server of this build.

    python3 .ci/studio.py            # the gate: each size of the page once, light or dark
    python3 .ci/studio.py --all      # each size in light and dark (make test-studio)
    python3 .ci/studio.py --write    # builds into assets/studio (make studio)
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "studio"
BUILT = ROOT / "assets" / "studio"
OLDEST = (20, 19)
"""The oldest Node.js that builds the page."""


def node() -> bool:
    """Whether there is a Node.js that is new enough; says so if not."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("studio: no Node.js: THE PAGE WAS NOT BUILT AGAIN, AND NOT TESTED")
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(it) for it in said.removeprefix("v").split(".")[:2]) < OLDEST:
        print(f"studio: Node.js {said} is older than {OLDEST[0]}.{OLDEST[1]}: THE PAGE WAS NOT BUILT AGAIN, AND NOT TESTED")
        return False
    return True


def npm(*args: str, **variables: str) -> None:
    subprocess.run(["npm", *args], cwd=SOURCE, env={**os.environ, **variables}, check=True)


def packages() -> None:
    """Installs what the lockfile names, unless that was done."""
    mark = SOURCE / "node_modules" / ".locked"
    lock = (SOURCE / "package-lock.json").read_bytes()
    if not mark.exists() or mark.read_bytes() != lock:
        npm("ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
        mark.write_bytes(lock)


def files(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in sorted(folder.rglob("*")) if it.is_file()}


def compare() -> None:
    """Builds into a folder of its own; ends if that differs from what is committed."""
    with tempfile.TemporaryDirectory() as folder:
        npm("run", "--silent", "build", "--", "--outDir", folder, "--logLevel", "warn")
        new, old = files(Path(folder)), files(BUILT)
        differ = sorted(it for it in new.keys() | old.keys() if new.get(it) != old.get(it))
    if differ:
        sys.exit(f"studio: assets/studio is not what studio/ builds: {', '.join(differ)}; run `make studio` and commit")
    print(f"studio: assets/studio is what studio/ builds, {len(new)} files")


def develop() -> None:
    """The source is served as docs/studio.md says."""
    with socket.socket() as taken, tempfile.TemporaryFile("w+") as log:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        command = ["npm", "run", "--silent", "dev", "--", "--port", str(port)]
        server = subprocess.Popen(command, cwd=SOURCE, stdout=log, stderr=log, start_new_session=True)
        end, page = time.monotonic() + 60, b""
        try:
            while not page and server.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError):
                    page = urllib.request.urlopen(f"http://localhost:{port}/", timeout=10).read()
                time.sleep(0.2)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)
        if b"/src/main.ts" not in page:
            log.seek(0)
            sys.exit(f"{log.read()}\nstudio: `npm run dev` does not serve the source")


def chromium() -> str | None:
    """The browser, installed in CI if it is missing."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], env=quiet, check=False, stdout=subprocess.DEVNULL)
        found = shutil.which("chromium")
    return found


def main() -> None:
    if not node():
        sys.exit(1 if "--write" in sys.argv else 0)
    packages()
    if "--write" in sys.argv:
        npm("run", "--silent", "build")
        return
    compare()
    develop()
    npm("test", "--silent", "--", "--project", "unit")
    browser = chromium()
    if browser is None:
        print("studio: no chromium: THE PAGE WAS NOT TRIED IN A BROWSER")
        return
    looks = "all" if "--all" in sys.argv else "some"
    npm("test", "--silent", "--", "--project", "browser", CHROMIUM=browser, STUDIO_LOOKS=looks)


if __name__ == "__main__":
    main()
