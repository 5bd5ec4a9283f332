"""Tests of the Dockerfile and of the chart's version."""

import subprocess
import unittest

from rendering import CHART
from tools import PYTHON_TOOLS, ROOT, python_tool


class Image(unittest.TestCase):
    def test_hadolint_finds_nothing(self):
        hadolint = python_tool(PYTHON_TOOLS[2]) / "bin" / "hadolint"
        done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        self.assertEqual((0, ""), (done.returncode, done.stdout + done.stderr))

    def test_the_chart_has_the_version_of_the_crate(self):
        import tomllib

        import yaml

        crate = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        self.assertEqual(crate, yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])
