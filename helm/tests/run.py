"""Tests of the deployment: chart linting, snapshots of rendered objects, rejected values, and linting of the Dockerfile.

Snapshots are in snapshots/ and updated by --update; other options are those of `python -m unittest discover`.
"""

import sys
import unittest
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(f"chart: needs Python 3.11 or newer, and this is {sys.version.split()[0]}")

import tools

if __name__ == "__main__":
    tools.prepare()
    options = [it for it in sys.argv[1:] if it != "--update"]
    here = str(Path(__file__).resolve().parent)
    unittest.main(module=None, argv=[sys.argv[0], "discover", "--start-directory", here, *options])
