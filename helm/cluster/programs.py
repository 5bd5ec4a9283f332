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
KWOK = "v0.8.0"
# That of the tests in tests/it/cluster.
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
            major, minor, _ = KUBERNETES.removeprefix("v").split(".")
            said = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
            flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in said.items())
            go(part, "build", "-ldflags", f"-s -w {flags}", "-o", program.name, ".")
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


def kwok() -> tuple[Path, Path]:
    """What plays the nodes, built with the control plane's own packages, and its configuration of nodes and pods."""
    program = tools.TOOLS / f"kwok-{KWOK}" / "kwok"
    stages = program.with_name("stages.yaml")
    if not program.exists():
        needs_go("kwok")
        tools.note(f"building kwok {KWOK} once")
        with tools.fresh(program.parent) as part:
            module(part)
            go(part, "mod", "edit", f"-require=sigs.k8s.io/kwok@{KWOK}")
            go(part, "build", "-ldflags", "-s -w", "-o", program.name, "sigs.k8s.io/kwok/cmd/kwok")
            found = json.loads(go(part, "mod", "download", "-json", f"sigs.k8s.io/kwok@{KWOK}", is_read=True))
            theirs = Path(found["Dir"]) / "kustomize" / "stage"
            files = [theirs / "node" / "heartbeat-with-lease", theirs / "node" / "fast", theirs / "pod" / "fast"]
            texts = [it.read_text() for folder in files for it in sorted(folder.glob("*.yaml")) if it.stem != "kustomization"]
            (part / stages.name).write_text("\n---\n".join(texts))
    return program, stages


def nats_server() -> Path:
    program = tools.TOOLS / f"nats-server-{NATS[1]}" / "nats-server"
    if not program.exists():
        needs_go("nats-server")
        with tools.fresh(program.parent) as part:
            environment = {**os.environ, "GOBIN": str(part), "CGO_ENABLED": "0"}
            subprocess.run(["go", "install", "@".join(NATS)], env=environment, check=True)
    return program


def grpc():
    """grpcio, for calls of the server's ports."""
    for package in ("typing-extensions==4.15.0", "grpcio==1.76.0"):
        folder = tools.python_tool(package)
        if not folder.exists():
            with tools.fresh(folder) as part:
                tools.pip("install", "--no-deps", "--only-binary=:all:", "--target", part, package)
        sys.path.append(str(folder))
    import grpc as found

    return found


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
    kwok()
