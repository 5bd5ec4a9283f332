"""The Python lines of docs/python.md, as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from serving import PICTURE, ROOT, Server

PAGE = ROOT / "docs" / "python.md"


def test_the_pages_blocks_run_in_their_order(server: Server, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) > 8
    shutil.copy(PICTURE, tmp_path / "scene.png")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks).replace("http://localhost:50051", server.url))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "blue.png").exists() and len(list(tmp_path.glob("trees-*.png"))) == 3
    assert "INVALID_ARGUMENT spec.steps: is 0" in done.stdout
