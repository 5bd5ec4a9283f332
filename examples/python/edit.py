"""Edits a picture over gRPC: saves previews as they come, changes the proposed mask with Pillow, saves the result.

    pip install -r requirements.txt
    python -m grpc_tools.protoc -I ../../proto --python_out=. --grpc_python_out=. retouch/v1/edit.proto
    python edit.py ../../assets/example.png "change the black tree to blue" --out out
"""

import argparse
import io
import os
import queue
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
from PIL import Image, ImageFilter

from retouch.v1 import edit_pb2 as pb
from retouch.v1.edit_pb2_grpc import EditServiceStub


def start(image: bytes, instruction: str, seed: int | None) -> pb.EditInput:
    """The first message: a job whose mask waits for our decision."""
    spec = pb.EditSpec(
        image=pb.Image(data=image),
        instruction=instruction,
        mask_policy=pb.MASK_POLICY_REVIEW,
        seed=seed,
    )
    # The same id after a broken connection attaches to the same job, and never makes a second one.
    return pb.EditInput(start=pb.CreateEditJobRequest(request_id=str(uuid.uuid4()), spec=spec))


def grown(mask: bytes, pixels: int) -> bytes:
    """The mask with a border more: any picture editor could stand here."""
    picture = Image.open(io.BytesIO(mask)).convert("L").filter(ImageFilter.MaxFilter(2 * pixels + 1))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def bytes_of(stub: EditServiceStub, artifact: pb.Artifact, metadata: list) -> bytes:
    """An artifact's bytes: small ones travel in the event, large ones are fetched."""
    if artifact.inline:
        return artifact.inline
    chunks = stub.DownloadArtifact(pb.DownloadArtifactRequest(name=artifact.name), metadata=metadata)
    return b"".join(chunk.data for chunk in chunks)


def edit(stub: EditServiceStub, args: argparse.Namespace, metadata: list) -> Path:
    """Runs one edit and returns the path of its result."""
    inputs: queue.Queue[pb.EditInput] = queue.Queue()
    inputs.put(start(args.image.read_bytes(), args.instruction, args.seed))
    said: Iterator[pb.EditInput] = iter(inputs.get, None)
    result = args.out / "result.png"
    for event in stub.Edit(said, timeout=args.timeout, metadata=metadata):
        match event.WhichOneof("event"):
            case "preview":
                # `pass` is a word of Python's own.
                name = pb.Pass.Name(getattr(event.preview, "pass")).removeprefix("PASS_").lower()
                path = args.out / f"{name}-{event.preview.step:03}.png"
                path.write_bytes(event.preview.image.inline)
            case "instruction":
                print(f"understood: {pb.Action.Name(event.instruction.action)} {event.instruction.object}")
            case "warning":
                print(f"warning: {event.warning.message}")
            case "mask_proposed":
                proposed = event.mask_proposed
                print("clusters:", ", ".join(f"{it.id} ({it.score:.2f})" for it in proposed.clusters))
                mask = grown(bytes_of(stub, proposed.mask, metadata), args.grow)
                (args.out / "mask.png").write_bytes(mask)
                replace = pb.Mask(image=pb.Image(data=mask))
                inputs.put(pb.EditInput(mask=pb.MaskDecision(replace=replace, etag=proposed.etag)))
            case "mask_settled":
                print(f"mask: {event.mask_settled.area:.1%} of the picture")
            case "result":
                result.write_bytes(bytes_of(stub, event.result.image, metadata))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("instruction")
    parser.add_argument("--server", default="localhost:50051")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--grow", type=int, default=2, help="pixels by which the mask is grown")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--timeout", type=float, default=600, help="seconds; the job ends with it")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    key = os.environ.get("RETOUCH_API_KEY")
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(args.server) as channel:
        try:
            print(edit(EditServiceStub(channel), args, metadata))
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
