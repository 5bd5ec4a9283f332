"""Lints the gRPC schema with buf, and refuses breaking changes.

The schema is compared with the last release, or with the previous commit if there is none.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "1.75.0"
ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target" / "tools" / "buf"
SCHEMA = ROOT / "proto"


def buf(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs buf, installing it first."""
    program = TOOLS / "node_modules" / ".bin" / "buf"
    if not program.exists():
        if shutil.which("npm") is None:
            sys.exit("npm is missing; install Node.js, which brings buf")
        command = ["npm", "install", "--silent", "--no-audit", "--prefix", str(TOOLS), f"@bufbuild/buf@{VERSION}"]
        subprocess.run(command, check=True)
    return subprocess.run([str(program), *args], capture_output=True, text=True, check=False)


def git(*args: str) -> bytes | None:
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def unpack(commit: str, folder: Path) -> bool:
    """Extracts the schema at a commit; returns whether it existed."""
    archive = git("archive", commit, "proto")
    if archive is None:
        return False
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return True


def check(name: str, done: subprocess.CompletedProcess[str], expected: int = 0) -> bool:
    """Prints a run's output; returns whether it ended as expected."""
    if done.returncode == expected:
        print(f"proto: {name}: ok")
        return True
    print(f"proto: {name}: exit {done.returncode}, expected {expected}\n{done.stdout}{done.stderr}")
    return False


def main() -> None:
    fine = [check("lint", buf("lint", str(SCHEMA)))]
    tag = git("describe", "--tags", "--abbrev=0")
    before = tag.decode().strip() if tag else "HEAD^"
    with tempfile.TemporaryDirectory() as folder:
        if unpack(before, Path(folder)):
            against = str(Path(folder) / "proto")
            fine.append(check(f"breaking against {before}", buf("breaking", str(SCHEMA), "--against", against)))
        else:
            print(f"proto: there is no {before} to compare with")
    # A break that is planted must be found, or the comparison says nothing.
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "proto"
        shutil.copytree(SCHEMA, broken)
        schema = broken / "retouch" / "v1" / "edit.proto"
        text = schema.read_text()
        planted = text.replace("string instruction = 2;", "string instructions = 2;", 1)
        assert planted != text, "the planted break needs a field that is there"
        schema.write_text(planted)
        fine.append(check("a planted break", buf("breaking", str(broken), "--against", str(SCHEMA)), 100))
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
