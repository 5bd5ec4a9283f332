"""Lints the gRPC schema with buf, and refuses one that lacks anything of an earlier one.

The earlier schema is in tests/fixtures/schema (tests/record/earlier.py). Its clients and its data folders are still
in use, so the messages on the wire and in journals only grow.
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
EARLIER = ROOT / "tests" / "fixtures" / "schema"


def buf(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs buf, installing it first."""
    program = TOOLS / "node_modules" / ".bin" / "buf"
    if not program.exists():
        if shutil.which("npm") is None:
            sys.exit("npm is missing; install Node.js, which brings buf")
        command = ["npm", "install", "--silent", "--no-audit", "--prefix", str(TOOLS), f"@bufbuild/buf@{VERSION}"]
        subprocess.run(command, check=True)
    return subprocess.run([str(program), *args], capture_output=True, text=True, check=False)


def check(name: str, done: subprocess.CompletedProcess[str], expected: int = 0) -> bool:
    """Prints a run's output; returns whether it ended as expected."""
    if done.returncode == expected:
        print(f"proto: {name}: ok")
        return True
    print(f"proto: {name}: exit {done.returncode}, expected {expected}\n{done.stdout}{done.stderr}")
    return False


def breaks(name: str, file: str, field: str, reserved: str) -> bool:
    """Whether the comparison finds that a field was taken out of a file of the schema, its number and name reserved."""
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "proto"
        shutil.copytree(SCHEMA, broken)
        path = broken / file
        text = path.read_text()
        assert text.count(field) == 1, f"the planted break needs `{field}`"
        path.write_text(text.replace(field, reserved))
        return check(name, buf("breaking", str(broken), "--against", str(EARLIER)), 100)


def main() -> None:
    fine = [
        check("lint", buf("lint", str(SCHEMA))),
        check("nothing of the earlier schema is lost", buf("breaking", str(SCHEMA), "--against", str(EARLIER))),
        breaks(
            "a field removed from the wire is found",
            "retouch/v1/edit.proto",
            "string instruction = 2;",
            'reserved 2; reserved "instruction";',
        ),
        breaks(
            "a field removed from the journal is found",
            "retouch/journal/v1/journal.proto",
            "bytes spec_digest = 3;",
            'reserved 3; reserved "spec_digest";',
        ),
    ]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
