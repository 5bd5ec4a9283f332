"""Tests the client-only build: it has no libtorch, refuses what needs a model, and talks to a server of the whole build."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tour

FEATURES = ["--no-default-features", "--features", "client"]
CLIENT = tour.ROOT / "target" / "client" / "release" / "retouch"
IMAGE = tour.ROOT / "assets" / "example.png"
INSTRUCTION = "change the black tree to blue"
URL = "http://localhost:50051"

# Packages that only models, or the server around them, need.
ABSENT = ["axum", "redb", "safetensors", "tch", "tokenizers", "torch-sys"]


def retouch(*args: str, code: int = 0) -> str:
    """What the client prints; its environment names no server."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RETOUCH_")}
    done = subprocess.run([CLIENT, *args], env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != code:
        sys.exit(f"{done.stdout}{done.stderr}\nclient: `retouch {' '.join(args)}` ended with {done.returncode}, not {code}")
    return done.stdout + done.stderr


def check(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"client: {what}")


def has_no_engine() -> None:
    """Neither its packages nor the files that it loads are the engine's."""
    tree = ["cargo", "tree", "--locked", *FEATURES, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]
    packages = {line.split()[0] for line in subprocess.run(tree, cwd=tour.ROOT, capture_output=True, text=True, check=True).stdout.splitlines() if line}
    check(not packages.intersection(ABSENT), f"it depends on {sorted(packages.intersection(ABSENT))}")
    check("tonic" in packages, "cargo tree lists no tonic, so that what it does not list says nothing")
    loaded = subprocess.run(["ldd", CLIENT], capture_output=True, text=True, check=True).stdout
    check("libc.so" in loaded and "torch" not in loaded, f"it loads\n{loaded}")


def says_what_it_is(folder: Path) -> None:
    """Version, help, and the error without a server."""
    check(retouch("--version").strip().endswith("(client)"), "--version does not say what it is")
    listed = retouch("--help")
    check(all(f"\n  {it} " in listed for it in ("edit", "batch", "jobs", "completions")), f"the help lacks a command:\n{listed}")
    check(not any(f"\n  {it} " in listed for it in ("serve", "eval", "localize", "inspect", "journal")), f"the help has too many:\n{listed}")
    check("--device" not in retouch("edit", "--help"), "`edit --help` shows flags of local edits")
    said = retouch("edit", str(IMAGE), INSTRUCTION, "-o", str(folder / "none.png"), code=2)
    check("is a client" in said and "--server URL" in said and said.count("\n") == 1, f"without a server it says: {said}")


def talks(folder: Path) -> None:
    """An edit, a list of jobs and a batch, at a server of the whole build with the demo model."""
    server = ["--server", URL]
    edited = folder / "edited.png"
    retouch("edit", str(IMAGE), INSTRUCTION, "-o", str(edited), "--maps", str(folder / "maps"), "--seed", "7", "--steps", "8", *server)
    check(edited.read_bytes().startswith(b"\x89PNG"), "the edit wrote no PNG")
    check((folder / "maps" / "contact-sheet.png").exists(), "the edit wrote no contact sheet")
    jobs = [json.loads(line) for line in retouch("jobs", "list", "--json", *server).splitlines()]
    check([it["state"] for it in jobs] == ["STATE_SUCCEEDED"], f"`jobs list` gives {jobs}")
    lines = [{"id": f"tree-{seed}", "image": str(IMAGE), "instruction": INSTRUCTION, "seed": seed, "steps": 4} for seed in (1, 2)]
    manifest = folder / "edits.jsonl"
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    retouch("batch", str(manifest), "--out", str(folder / "results"), *server)
    results = sorted(it.name for it in (folder / "results").glob("*.png"))
    check(results == ["tree-1.png", "tree-2.png"], f"the batch wrote {results}")


def main() -> None:
    build = ["cargo", "build", "--release", "--locked", "--quiet", *FEATURES, "--target-dir", "target/client"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LIBTORCH")}
    subprocess.run(build, cwd=tour.ROOT, env=environment, check=True)
    has_no_engine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        says_what_it_is(folder)
        environment = {**os.environ, "RETOUCH__JOBS__DATA_DIR": str(folder / "data")}
        with (folder / "serve.log").open("w") as log:
            server = subprocess.Popen([tour.build() / "retouch", "serve"], cwd=folder, env=environment, stderr=log)
        try:
            wait = "until curl -sf localhost:9090/readyz; do sleep 0.2; done"
            subprocess.run(["bash", "-c", wait], timeout=300, check=True, stdout=subprocess.DEVNULL)
            talks(folder)
        finally:
            server.terminate()
            server.wait(timeout=60)
    start = time.monotonic()
    retouch("--version")
    print(f"client: {CLIENT.stat().st_size >> 20} MiB, --version in {(time.monotonic() - start) * 1000:.0f} ms; edit, jobs and batch at a server")


if __name__ == "__main__":
    main()
