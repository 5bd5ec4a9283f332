"""Packs a run's checkpoint into small files, and unpacks them: for machines that let only small files through.

    python checkpoint.py pack runs/emoji packed --megabytes 15
    python checkpoint.py unpack packed runs/emoji

What is packed is enough to go on, and to export: weights and their average in half precision, the counts, tokenizer and
autoencoder. The optimizers' momentum is left out; it is there again after some dozens of steps.
"""

import argparse
import io
import tarfile
from pathlib import Path

import torch

KEPT = ("settings.json", "log.jsonl", "vae_log.jsonl", "tokenizer", "vae")


def _halved(values):
    """Returns the tensors in `values`, a tensor, a list or a table, in half precision."""
    if isinstance(values, torch.Tensor):
        return values.half() if values.is_floating_point() else values
    if isinstance(values, dict):
        return {name: _halved(value) for name, value in values.items()}
    return [_halved(value) for value in values] if isinstance(values, list) else values


def pack(run: Path, folder: Path, megabytes: int) -> list[Path]:
    """Writes part-00, part-01, … of at most `megabytes` each; returns them."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    del state["optimizers"]
    checkpoint, archive = io.BytesIO(), io.BytesIO()
    torch.save(_halved(state), checkpoint)
    with tarfile.open(fileobj=archive, mode="w") as files:
        entry = tarfile.TarInfo("checkpoint.pt")
        entry.size = checkpoint.tell()
        checkpoint.seek(0)
        files.addfile(entry, checkpoint)
        for name in KEPT:
            if (run / name).exists():
                files.add(run / name, name)
    folder.mkdir(parents=True, exist_ok=True)
    content, size = archive.getvalue(), megabytes * 2**20
    parts = []
    for index in range(0, len(content), size):
        parts.append(folder / f"part-{index // size:02}")
        parts[-1].write_bytes(content[index : index + size])
    return parts


def unpack(folder: Path, run: Path) -> None:
    """Joins the parts in `folder` and unpacks them as a run."""
    content = b"".join(part.read_bytes() for part in sorted(folder.glob("part-*")))
    run.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        files.extractall(run, filter="data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--megabytes", type=int, default=15, help="largest size of a part")
    args = parser.parse_args()
    if args.action == "pack":
        print(*pack(args.source, args.target, args.megabytes), sep="\n")
    else:
        unpack(args.source, args.target)


if __name__ == "__main__":
    main()
