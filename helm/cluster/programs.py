"""The programs of the test cluster, built by Go from its module proxy into target/tools once; later runs work offline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import tools

KUBERNETES = "v1.36.3"
KWOK = ("sigs.k8s.io/kwok/cmd/kwok", "v0.8.0")
NATS = ("github.com/nats-io/nats-server/v2", "v2.15.3")


def control_plane() -> Path:
    """kube-apiserver, kube-controller-manager, kube-scheduler and etcd in one program: some 12 minutes of a core."""
    program = tools.TOOLS / f"control-plane-{KUBERNETES}" / "control-plane"
    if not program.exists():
        needs_go("a control plane")
        tools.note(f"building a control plane {KUBERNETES} once; this takes a quarter of an hour")
        with tools.fresh(program.parent) as part:
            shutil.copy(HERE / "main.go", part)
            module(part)
            go(part, "build", "-p", str(max(1, (os.cpu_count() or 2) // 2)), "-ldflags", "-s -w", "-o", program.name, ".")
    return program


def module(folder: Path) -> None:
    """A go.mod with the requirements of Kubernetes' own, whose staging folders are modules of their own on the proxy."""
    go(folder, "mod", "init", "example.com/control-plane")
    found = json.loads(go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}", is_read=True))
    theirs = json.loads(go(folder, "mod", "edit", "-json", found["GoMod"], is_read=True))
    staged = {it["Old"]["Path"] for it in theirs.get("Replace", []) if it["New"]["Path"].startswith("./staging/")}
    version = "v0" + KUBERNETES.removeprefix("v1")
    edits = [f"-go={theirs['Go']}", f"-require=k8s.io/kubernetes@{KUBERNETES}"]
    for it in theirs["Require"]:
        edits.append(f"-require={it['Path']}@{version if it['Path'] in staged else it['Version']}")
    edits += [f"-replace={it}={it}@{version}" for it in sorted(staged)]
    go(folder, "mod", "edit", *edits)


def installed(name: str, module: str, version: str) -> Path:
    program = tools.TOOLS / f"{name}-{version}" / name
    if not program.exists():
        needs_go(name)
        tools.build(name, module, version, program.parent)
    return program


def go(folder: Path, *arguments: str, is_read: bool = False) -> str:
    environment = {**os.environ, "GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0", "GOWORK": "off"}
    line = ["go", *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, stdout=subprocess.PIPE if is_read else None, text=True, check=False)
    if done.returncode != 0:
        tools.fail(f"`go {' '.join(arguments[:2])}` failed (its reason is above)")
    return done.stdout


def needs_go(what: str) -> None:
    if shutil.which("go") is None:
        tools.fail(f"needs Go to build {what} once, and `go` is not found")


if __name__ == "__main__":
    control_plane()
