"""Times an edit of the demo model alone and beside other programs on the same cores, as retouch is and as libgomp's own spinning would have it.

    make build && python benches/neighbours.py

Each line is a whole process, the median of `--rounds` turns in which the two ways run one after the other; beside it the ratio to that way's own
time alone. Wants a machine where nothing else computes; takes some minutes. Standard library only.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent

# What libgomp does where nobody says otherwise (its env.c), said outright, which switches retouch's own policy off.
WAYS = {"retouch": {}, "libgomp's own": {"GOMP_SPINCOUNT": "300000"}, "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"}}
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retouch", type=Path, default=HOME / "target/release/retouch", help="the command [default: target/release/retouch]")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each line [default: 5]")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a run is cut off [default: 180]")
    parser.add_argument("--without", nargs="*", default=[], metavar="WAY", help=f"ways to leave out, of {', '.join(WAYS)}")
    args = parser.parse_args()
    if not args.retouch.is_file():
        sys.exit(f"{args.retouch} is not there: run `make build`, or name another by --retouch")
    cores = len(os.sched_getaffinity(0))
    ways = [it for it in WAYS if it not in args.without]
    print(f"{cores} cores; seconds of a whole `retouch edit`, median of {args.rounds}; in brackets the ratio to the same way alone")
    print("| beside | " + " | ".join(ways) + " |\n|---|" + "---|" * len(ways), flush=True)
    alone: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Edit(args.retouch, Path(folder), args.limit)
        for name, loops, edits in lines(cores):
            taken: dict[str, list[float]] = {it: [] for it in ways}
            with busy(loops):
                for _ in range(args.rounds):
                    for way in ways:
                        taken[way].append(run.timed(WAYS[way], edits))
            cells = []
            for way, seconds in taken.items():
                middle = statistics.median(seconds)
                alone.setdefault(way, middle)
                cells.append(f"{middle:.2f} ({middle / alone[way]:.2f}; {min(seconds):.2f} to {max(seconds):.2f})")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def lines(cores: int) -> list[tuple[str, int, int]]:
    """What runs beside: its name, busy loops, other edits of the same way."""
    loops = sorted({1, cores, 2 * cores})
    beside = [(f"{count} busy loop{'s' * (count > 1)}", count, 0) for count in loops]
    return [("nothing", 0, 0), *beside, ("one other edit", 0, 1), ("two other edits", 0, 2)]


class Edit:
    """The edit of `make demo`."""

    def __init__(self, retouch: Path, folder: Path, limit: float) -> None:
        self.retouch, self.folder, self.limit = retouch, folder, limit

    def timed(self, variables: dict[str, str], others: int) -> float:
        """Seconds of the slowest of this edit and the others that start with it."""
        start = time.monotonic()
        running = [self.start(variables, number) for number in range(1 + others)]
        for process in running:
            try:
                if process.wait(self.limit) != 0:
                    sys.exit(f"the edit failed with exit code {process.returncode}")
            except subprocess.TimeoutExpired:
                for it in running:
                    it.kill()
                return self.limit
        return time.monotonic() - start

    def start(self, variables: dict[str, str], number: int) -> subprocess.Popen:
        kept = {name: value for name, value in os.environ.items() if name not in SPIN_VARIABLES}
        command = [self.retouch, "edit", HOME / "assets/demo.png", "give the purple triangle a yellow color"]
        command += ["--compare", "instruct-pix2pix", "--seed", "5", "-o", self.folder / f"{number}.png"]
        command += ["--maps", self.folder / f"maps-{number}", "--force"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env={**kept, **variables}, stdin=quiet, stdout=quiet, stderr=quiet)


@contextlib.contextmanager
def busy(count: int):
    """Processes that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()
