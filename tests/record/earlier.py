"""Records what an earlier version of retouch leaves behind, by its own binary: a data folder with a job in every state,
a localization, a batch that was stopped, pictures with their records, and the flags and events that it knew.

What today's code reads of it is tested in tests/it/earlier. The binary is built from the commit that EARLIER names:

    git worktree add ../earlier 23f8c90
    (cd ../earlier && cargo build --locked)
    python tests/record/earlier.py ../earlier
"""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EARLIER = "23f8c90"
ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "tests" / "fixtures" / "earlier"
SCENE = ROOT / "assets" / "heldout" / "image" / "recolor-064.png"
INSTRUCTION = "make the red star blue"
# Long enough to be killed in, on any machine.
LONG = 400

FOLDER = Path(sys.argv[1]).resolve()
HEAD = subprocess.run(["git", "rev-parse", "HEAD"], cwd=FOLDER, capture_output=True, text=True, check=True).stdout
assert HEAD.startswith(EARLIER), HEAD
RETOUCH = FOLDER / "target" / "debug" / "retouch"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def retouch(*args, cwd=None):
    done = subprocess.run([RETOUCH, *map(str, args)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout


class Server:
    """`retouch serve` over a data folder, with the demo model."""

    def __init__(self, data, batch=1):
        listen = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]
        command = [RETOUCH, "serve", *listen, "--data-dir", data, "--threads", "1", "--dtype", "fp32", "--max-batch", str(batch)]
        self.process = subprocess.Popen(map(str, command), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on (http://[0-9.:]+)", line):
                self.url = found[1]
                break
        self.clients = []

    def job(self, case):
        """State and name of the job with this label."""
        found = self.call("list", "--json", "--label", f"case={case}").splitlines()
        job = json.loads(found[0]) if found else {"state": "", "name": ""}
        return job["state"].removeprefix("STATE_"), job["name"]

    def create(self, case, until, **fields):
        """A job of a batch of one, once it is in a state; its client is stopped, the job goes on."""
        folder = Path(tempfile.mkdtemp())
        item = {"id": case, "image": str(SCENE), "instruction": INSTRUCTION, "seed": 7, "steps": 4, "localizeSteps": 4}
        item |= {"labels": {"case": case}, "priority": "PRIORITY_INTERACTIVE", **fields}
        (folder / "list.jsonl").write_text(json.dumps(item))
        command = [RETOUCH, "batch", "list.jsonl", "--out", "out", "--server", self.url]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        client = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **quiet)
        name = self.until(case, until)
        client.kill()
        client.wait()
        return name

    def until(self, case, state):
        for _ in range(3000):
            found, name = self.job(case)
            if found == state:
                return name
            time.sleep(0.02)
        raise AssertionError(f"{case} is {found}, never {state}")

    def call(self, *args):
        return retouch("jobs", *args, "--server", self.url)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def data_folder():
    """A data folder with a job in every state, killed while two of them ran, and the batch that made some of them, killed too."""
    data = Path(tempfile.mkdtemp()) / "data"
    server = Server(data, batch=2)
    # 1. What has ended.
    server.create("succeeded", "SUCCEEDED")
    server.create("localize-only", "SUCCEEDED", maskPolicy="MASK_POLICY_LOCALIZE_ONLY")
    server.create("failed", "FAILED", instruction="colorless green ideas", strict=True)
    name = server.create("cancelled", "AWAITING_MASK", maskPolicy="MASK_POLICY_REVIEW")
    server.call("cancel", name, "--reason", "of no use")
    server.until("cancelled", "CANCELLED")
    # 2. What waits for its mask.
    review = {"maskPolicy": "MASK_POLICY_REVIEW", "reviewTimeout": "86400s"}
    server.create("awaiting-mask", "AWAITING_MASK", **review)
    ready = server.create("mask-ready", "AWAITING_MASK", **review)
    # 3. A batch of three, killed while the last is edited; its picture and its list lie beside it.
    out = OUT / "batch"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(SCENE, out / "scene.png")
    items = [("batch-done", {}), ("batch-failed", {"instruction": "colorless green ideas", "strict": True}), ("batch-editing", {"steps": LONG})]
    asked = {"image": "scene.png", "instruction": INSTRUCTION, "seed": 7, "steps": 4}
    lines = [json.dumps({"id": case, **asked, **fields, "labels": {"case": case}}) for case, fields in items]
    (out / "list.jsonl").write_text("\n".join(lines) + "\n")
    command = [RETOUCH, "batch", "list.jsonl", "--out", "out", "--concurrency", "1", "--server", server.url]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    client = subprocess.Popen(command, cwd=out, env=ENVIRONMENT, **quiet)
    server.until("batch-editing", "EDITING")
    client.kill()
    client.wait()
    # 4. The second slot is taken by a first pass; two more wait for a slot, before either pass.
    server.create("localizing", "LOCALIZING", localizeSteps=LONG, clusterCount=9)
    server.call("mask", ready, "--accept")
    server.create("queued", "QUEUED")
    server.until("mask-ready", "MASK_READY")
    for case, state in [("batch-editing", "EDITING"), ("localizing", "LOCALIZING"), ("queued", "QUEUED")]:
        assert server.job(case)[0] == state, server.job(case)
    server.kill()
    out = OUT / "data"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(data / "artifacts", out / "artifacts")
    (out / "journal.redb.gz").write_bytes(gzip.compress((data / "journal.redb").read_bytes(), mtime=0))


def local():
    """A localization, pictures of every type with their records, and the settings that the demo model recommended then."""
    shutil.copy(FOLDER / "assets" / "demo-model" / "retouch.json", OUT)
    given = [SCENE, INSTRUCTION, "--seed", 7, "--dtype", "fp32"]
    localize = ["--localize-steps", 4, "-o", OUT / "mask.png", "--save", OUT / "localization.json"]
    retouch("localize", *given, *localize, "--force")
    edit = ["edit", *given, "--steps", 4, "--localize-steps", 4, "--force", "-o"]
    retouch(*edit, OUT / "found.png")
    retouch(*edit, OUT / "found.webp")
    retouch(*edit, OUT / "found.jpg", "--quality", 90)
    retouch(*edit, OUT / "clusters.png", "--clusters", "1,2", "--dilate", 2)
    retouch(*edit, OUT / "boxes.png", "--box", "8,16,24,48")
    retouch(*edit, OUT / "plain.png", "--method", "instruct-pix2pix")
    saved = [SCENE, INSTRUCTION, "--seed", 8, "--dtype", "fp32", "--steps", 4, "--force"]
    retouch("edit", *saved, "--localization", OUT / "localization.json", "-o", OUT / "saved.png")


def flags():
    """Every command, its arguments and flags, and the values that a flag names."""
    lines = []

    def walk(path):
        text = retouch(*path, "-h")
        parts = re.split(r"^ {2,6}(?:-\w, )?(--[a-z0-9-]+|[<\[][A-Z]+[>\]](?=\.\.\.|\s))", text, flags=re.M)
        for flag, about in zip(parts[1::2], parts[2::2]):
            about = " ".join(about.split())
            names = [flag, *re.findall(r"--[a-z0-9-]+", "".join(re.findall(r"\[alias(?:es)?: (.*?)\]", about)))]
            values = [value for listed in re.findall(r"\[possible values: (.*?)\]", about) for value in listed.split(", ")]
            for name in [] if flag in ("--help", "--version") else names:
                lines.append(" ".join([*path, name.strip("<>[]")]))
            lines.extend(" ".join([*path, flag.strip("<>[]"), value]) for value in values)
        listed = text.split("\nCommands:\n")
        for name in re.findall(r"^  ([a-z-]+)", listed[1].split("\n\n")[0], re.M) if len(listed) > 1 else []:
            if name != "help":
                lines.append(" ".join([*path, name]))
                walk([*path, name])

    walk([])
    (OUT / "flags.txt").write_text("\n".join(sorted(lines)) + "\n")


def events():
    """Every key of what `--json` prints, here and from a server."""
    folder = Path(tempfile.mkdtemp())
    steps = ["--seed", 7, "--localize-steps", 2, "--json", "-o", "out.png", "--maps", "maps", "--force"]
    edit = ["edit", SCENE, INSTRUCTION, "--steps", 2, *steps]
    told = retouch(*edit, "--compare", "instruct-pix2pix", cwd=folder)
    told += retouch("edit", SCENE, "colorless green ideas", "--steps", 2, *steps, cwd=folder)
    told += retouch("localize", SCENE, INSTRUCTION, "--save", "saved.json", *steps, cwd=folder)
    refused = subprocess.run([RETOUCH, *map(str, edit), "--strict", "--object", "!"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    told += refused.stdout + refused.stderr
    server = Server(folder / "data")
    told += retouch(*edit, "--server", server.url, cwd=folder)
    (folder / "list.jsonl").write_text(json.dumps({"id": "a", "image": str(SCENE), "instruction": INSTRUCTION, "steps": 2}))
    told += retouch("batch", "list.jsonl", "--server", server.url, "--json", cwd=folder)
    listed = server.call("list", "--json")
    name = json.loads(listed.splitlines()[0])["name"]
    told += listed + server.call("get", name, "--json") + server.call("watch", name, "--json")
    told += server.call("delete", name, "--json")
    server.kill()

    def keys(value, path):
        for key, inner in value.items() if isinstance(value, dict) else []:
            yield from [".".join([*path, key]), *keys(inner, [*path, key])]
        for inner in value if isinstance(value, list) else []:
            yield from keys(inner, path)

    found = {key for line in told.splitlines() for key in keys(json.loads(line), [])}
    (OUT / "events.txt").write_text("\n".join(sorted(found)) + "\n")


def schema():
    shutil.rmtree(ROOT / "tests" / "fixtures" / "schema", ignore_errors=True)
    shutil.copytree(FOLDER / "proto", ROOT / "tests" / "fixtures" / "schema")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for part in [schema, flags, events, local, data_folder]:
        if sys.argv[2:] and part.__name__ not in sys.argv[2:]:
            continue
        part()
