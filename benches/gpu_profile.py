"""Which kernels a step's time goes to, as Nsight Compute sees them one by one (`ncu`, of the CUDA toolkit)."""

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 120
"""Seconds."""
MARK = "group_norm_sums"
"""A kernel of ours that begins near the start of a call."""


def kernels(args: argparse.Namespace, levers: str) -> list[dict]:
    """Of the second of two calls, from its first norm on: each kernel's name, how often it runs, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "kernels.csv"
        command = ["ncu", "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv", "--page", "raw", "--log-file", log]
        command += [args.bin / "gpu_engine", args.model, args.device, args.dtype, levers]
        request = {"run": "steps", "pixels": args.pixels, "guest": args.profile, "count": 2}
        try:
            subprocess.run([str(it) for it in command], input=json.dumps(request) + "\n", text=True, stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            print("ncu took too long: some kernels are missing", file=sys.stderr)
        lines = [it for it in log.read_text().splitlines() if it.startswith('"')]
    rows = list(csv.DictReader(lines))
    unit = {"ns": 1e-9, "us": 1e-6, "usecond": 1e-6, "nsecond": 1e-9, "ms": 1e-3}[rows[0]["gpu__time_duration.sum"].strip() or "ns"]
    rows = [(it["Kernel Name"], float(it["gpu__time_duration.sum"].replace(",", "")) * unit) for it in rows[1:]]
    marks = [at for at, (name, _) in enumerate(rows) if MARK in name]
    found: dict = {}
    for name, seconds in rows[marks[len(marks) // 2] if marks else len(rows) // 2 :]:
        name = re.sub(r"<unnamed>::|\(anonymous namespace\)::|void |at::native::", "", name)[:90]
        count, total = found.get(name, (0, 0.0))
        found[name] = (count + 1, total + seconds)
    by_time = sorted(found.items(), key=lambda it: -it[1][1])
    return [{"kernel": name, "count": count, "seconds": seconds} for name, (count, seconds) in by_time]
