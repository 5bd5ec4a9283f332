"""Edits a picture at a server: saves previews as they come, changes the proposed mask with Pillow, saves the result.

    pip install ../../python[images]
    python edit.py ../../assets/example.png "change the black tree to blue" --out out
"""

import argparse
import os
import sys
from pathlib import Path

from PIL import Image, ImageFilter

from retouch_client import Client, Proposal, RetouchError, pass_of
from retouch_client.edit_pb2 import Action, EditEvent


def edit(client: Client, args: argparse.Namespace) -> Path:
    """Runs one edit and returns the path of its result."""

    def hear(event: EditEvent) -> None:
        if event.HasField("preview"):
            name = f"{pass_of(event.preview)}-{event.preview.step:03}.png"
            (args.out / name).write_bytes(client.download(event.preview.image))
        elif event.HasField("instruction"):
            print(f"understood: {Action.Name(event.instruction.action)} {event.instruction.object}")
        elif event.HasField("warning"):
            print(f"warning: {event.warning.message}")
        elif event.HasField("mask_settled"):
            print(f"mask: {event.mask_settled.area:.1%} of the picture")

    def grow(proposal: Proposal) -> Image.Image:
        """The proposed mask with a border more: any picture editor could stand here."""
        print("clusters:", ", ".join(f"{it.id} ({it.score:.2f})" for it in proposal.clusters))
        return proposal.mask.filter(ImageFilter.MaxFilter(2 * args.grow + 1))

    settings = {} if args.seed is None else {"seed": args.seed}
    result = client.edit(args.image, args.instruction, review=grow, on_event=hear, timeout=args.timeout, **settings)
    path: Path = args.out / "result.png"
    result.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("instruction")
    parser.add_argument("--server", default="http://localhost:50051")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--grow", type=int, default=2, help="pixels by which the mask is grown")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--timeout", type=float, default=600, help="seconds; the job ends with it")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        with Client(args.server, api_key=os.environ.get("RETOUCH_API_KEY")) as client:
            print(edit(client, args))
    except RetouchError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
