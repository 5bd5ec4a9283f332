"""Renders the chart by Helm, and finds objects in the result."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools import KUBERNETES, ROOT, schemas, tool

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "retouch"


def helm(*arguments, chart: Path = CHART) -> subprocess.CompletedProcess:
    """Runs Helm on the chart for the oldest supported Kubernetes, without the user's HELM_* and KUBE* variables."""
    environment = {it: value for it, value in os.environ.items() if not it.startswith(("HELM_", "KUBE"))}
    command, *rest = arguments
    name = ["pictures"] if command == "template" else []
    line = [str(tool("helm")), command, *name, str(chart), "--namespace", "studio", "--kube-version", KUBERNETES[0], *rest]
    return subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def cases() -> dict[str, Path]:
    return {it.name.removesuffix("-values.yaml"): it for it in sorted((CHART / "ci").glob("*-values.yaml"))}


@functools.cache
def rendered(case: str) -> str:
    done = helm("template", "--values", cases()[case])
    if done.returncode != 0:
        raise AssertionError(f"{case} does not render: {done.stderr}")
    return done.stdout


def objects(case: str) -> list[dict]:
    import yaml

    return [it for it in yaml.safe_load_all(rendered(case)) if it]


def notes(case: str) -> str:
    """The rendered NOTES.txt. `helm template` doesn't print it, so a copy of the chart renders it into an object."""
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CHART, Path(folder) / "retouch"))
        text = (copy / "templates" / "NOTES.txt").read_text()
        wrapped = '{{- define "notes" -}}' + text + '{{- end -}}\nnotes: {{ include "notes" . | toJson }}\n'
        (copy / "templates" / "printed.yaml").write_text(wrapped)
        done = helm("template", "--values", cases()[case], "--show-only", "templates/printed.yaml", chart=copy)
    if done.returncode != 0:
        raise AssertionError(f"the notes of {case} do not render: {done.stderr}")
    return yaml.safe_load(done.stdout)["notes"]


def refusal(base: str | None, settings: tuple) -> str:
    values = ["--values", str(cases()[base])] if base else []
    done = helm("template", *values, *(it for setting in settings for it in ("--set", setting)))
    if done.returncode == 0:
        raise AssertionError(f"{base} with {settings} rendered")
    lines = done.stderr.splitlines()
    return "\n".join(it for it in lines if it.startswith("- ")) or done.stderr


def workloads(things: list[dict]) -> list[dict]:
    """One, or what answers calls and what runs jobs."""
    return [it for it in things if it["kind"] in ("StatefulSet", "Deployment")]


def pods(things: list[dict]) -> list[tuple[dict, dict]]:
    """Metadata and spec of each pod: the servers', and that of `helm test`."""
    templates = [it["spec"]["template"] for it in workloads(things)]
    tests = [it for it in things if it["kind"] == "Pod"]
    return [(it["metadata"], it["spec"]) for it in (*templates, *tests)]


def containers(pod: dict) -> list[dict]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def configuration(things: list[dict]) -> dict:
    import tomllib

    (text,) = (it["data"]["retouch.toml"] for it in things if it["kind"] == "ConfigMap" and "retouch.toml" in it["data"])
    return tomllib.loads(text)


def conform(text: str, version: str) -> subprocess.CompletedProcess:
    line = [str(tool("kubeconform")), "-strict", "-summary", "-kubernetes-version", version]
    for folder in (schemas() / version, HERE / "schemas"):
        line += ["-schema-location", f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]
    return subprocess.run(line, input=text, capture_output=True, text=True, check=False)
