"""Generates the schema's Python module and its types from `proto/` while the wheel is built; nothing else keeps them."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "retouch/v1/edit.proto"


class SchemaHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs around each build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self.made = tempfile.TemporaryDirectory()
        if self.target_name == "sdist":
            return
        root = Path(self.root)
        # A source distribution holds the schema itself, the repository has it beside this folder.
        schema = next(it for it in (root / "proto", root.parent / "proto") if it.is_dir())
        plugin = shutil.which("protoc-gen-mypy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        command = ["protoc", f"-I{schema}", f"-I{protoc._get_resource_file_name('grpc_tools', '_proto')}"]
        command += [f"--plugin=protoc-gen-mypy={plugin}", f"--python_out={self.made.name}"]
        if protoc.main([*command, f"--mypy_out=quiet:{self.made.name}", FILE]) != 0:
            raise RuntimeError(f"protoc can't read {schema / FILE}")
        for suffix in (".py", ".pyi"):
            made = Path(self.made.name, FILE).with_name(f"edit_pb2{suffix}")
            build_data["force_include"][str(made)] = f"retouch_client/{made.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.made.cleanup()
