"""Runs the tour of the service (docs/tour.md) as a newcomer pastes it, and the Python example, against a server of this build."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target" / "tools"
EXAMPLE = ROOT / "examples" / "python"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PAGE = ROOT / "docs" / "tour.md"
LIMIT = 900
"""Time limit of the whole tour in seconds."""

AGAIN = "once more"
"""Separator between two runs of the tour."""

# What the tour must print, and must leave behind.
SAID = [
    "retouch.v1.EditService",
    "returns ( stream .retouch.v1.EditEvent )",
    '"clusterMap"',
    '"maskProposed"',
    "STATE_AWAITING_MASK",
    '"STATE_MASK_READY"',
    '"kind":"result"',
    '{"state":"STATE_SUCCEEDED"',
    '{"state":"STATE_CANCELLED","error":"CANCELLED_BY_API"}',
    "type.googleapis.com/google.rpc.BadRequest",
    "spec.steps",
]


def need(program: str, hint: str) -> None:
    if shutil.which(program) is None:
        sys.exit(f"{program} is missing; {hint}")


def build() -> Path:
    """Folder of this build's binary."""
    found = next((ROOT / "target" / kind for kind in ("release", "debug") if (ROOT / "target" / kind / "retouch").exists()), None)
    if found is None:
        sys.exit("there is no retouch in target/: run `make build`")
    return found


def path() -> str:
    """The search path with this build's binary and grpcurl, which is compiled if missing."""
    if not (TOOLS / "grpcurl").exists():
        need("go", "install Go, which builds grpcurl")
        subprocess.run(["go", "install", GRPCURL], env={**os.environ, "GOBIN": str(TOOLS)}, check=True)
    return f"{build()}:{TOOLS}:{os.environ['PATH']}"


def blocks() -> list[str]:
    """The shell blocks of the tour."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)


def tour(folder: Path, environment: dict[str, str]) -> None:
    """Runs all blocks in one shell, twice, in a folder with only the assets."""
    (folder / "assets").symlink_to(ROOT / "assets")
    lines = ["set -m", *blocks(), f"echo '{AGAIN}'", "rm result.png", *blocks()]
    done = subprocess.run(["bash", "-e", "-c", "\n".join(lines)], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False)
    for number, said in enumerate(done.stdout.split(AGAIN), 1):
        missing = [text for text in SAID if text not in said]
        if done.returncode != 0 or missing:
            sys.exit(f"{said}\ntour: exit {done.returncode}; not said the {number}. time: {missing}")
    if done.stdout.count(AGAIN) != 1 or not (folder / "result.png").read_bytes().startswith(b"\x89PNG"):
        sys.exit("tour: it ended early, or result.png is no PNG")
    if "listening on" in done.stdout or "listening on" not in (folder / "serve.log").read_text():
        sys.exit("tour: the server's log is among what the tour prints")
    print(f"tour: {len(blocks())} blocks of {PAGE.name} ran as written, twice")


def without_server(folder: Path, environment: dict[str, str]) -> None:
    """Runs the blocks without a built binary: they must fail, and end."""
    environment = {**environment, "PATH": f"{TOOLS}:/usr/local/bin:/usr/bin:/bin"}
    (folder / "assets").symlink_to(ROOT / "assets")
    script = "set -m\n" + "\n".join(blocks())
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    if "see serve.log" not in done.stderr or "command not found" not in (folder / "serve.log").read_text():
        sys.exit(f"{done.stdout}{done.stderr}\ntour: it does not say that there is no retouch")
    print("tour: without retouch it ends")


def python_with_grpc() -> Path:
    """A Python environment with what the Python client and its tests require."""
    home, required = TOOLS / "python-client", ROOT / "python" / "tests" / "requirements.txt"
    python, installed = home / "bin" / "python", home / "requirements.txt"
    if not installed.exists() or installed.read_text() != required.read_text():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", required], check=True)
        shutil.copy(required, installed)
    return python


def python_with_client() -> tuple[Path, Path]:
    """The environment with the Python client of this tree in it, and the client's wheel."""
    python, wheels = python_with_grpc(), ROOT / "target" / "python"
    shutil.rmtree(wheels, ignore_errors=True)
    # What builds it is in the environment.
    given = [f"PYTHON={python}", "WHEEL_OPTIONS=--no-build-isolation"]
    subprocess.run(["make", "--no-print-directory", "python-client", *given], cwd=ROOT, check=True)
    (wheel,) = wheels.glob("retouch_client-*-py3-none-any.whl")
    again = ["--force-reinstall", "--no-deps", "--no-index"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *again, wheel], check=True)
    return python, wheel


def compile_schema(python: Path, folder: Path) -> None:
    """Generates the schema's Python modules into a folder."""
    protoc = [python, "-m", "grpc_tools.protoc", "-I", ROOT / "proto", "--python_out=.", "--grpc_python_out=.", "retouch/v1/edit.proto"]
    subprocess.run(protoc, cwd=folder, check=True)


def example(folder: Path, environment: dict[str, str]) -> None:
    """Runs the Python example as its docstring says."""
    python, _ = python_with_client()
    shutil.copy(EXAMPLE / "edit.py", folder)
    server = subprocess.Popen(["retouch", "serve"], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait = "until curl -sf localhost:9090/readyz; do sleep 0.2; done"
        subprocess.run(["bash", "-c", wait], env=environment, timeout=300, check=True, stdout=subprocess.DEVNULL)
        command = [python, "edit.py", ROOT / "assets" / "example.png", "change the black tree to blue", "--seed", "7"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    finally:
        server.terminate()
        code = server.wait(timeout=60)
    previews = list((folder / "out").glob("edit-*.png"))
    if done.returncode != 0 or not (folder / "out" / "result.png").exists() or not previews or code != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nexample: exit {done.returncode}, server {code}, {len(previews)} previews")
    print(f"example: a result and {len(previews)} previews of the edit")


def main() -> None:
    for program in ("jq", "curl"):
        need(program, f"install it, as in `apt-get install {program}`")
    for run in (without_server, tour, example):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            environment = {**os.environ, "PATH": path(), "RETOUCH__JOBS__DATA_DIR": str(folder / "data")}
            run(folder, environment)


if __name__ == "__main__":
    main()
