"""Files in pieces, and their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from retouch_client import edit_pb2 as pb
from retouch_client.errors import AnswerUnusable

PIECE = 256 << 10
"""Bytes that an upload sends at a time."""


def pieces(file: bytes) -> Iterator[pb.UploadArtifactRequest]:
    """The messages of an upload."""
    header = pb.UploadHeader(sha256=hashlib.sha256(file).digest(), size_bytes=len(file))
    yield pb.UploadArtifactRequest(header=header)
    for start in range(0, len(file), PIECE):
        yield pb.UploadArtifactRequest(chunk=file[start : start + PIECE])


def checked(artifact: pb.Artifact, file: bytes) -> bytes:
    """A downloaded file, compared with its digest."""
    if artifact.sha256 and hashlib.sha256(file).digest() != artifact.sha256:
        raise AnswerUnusable(f"{artifact.name} was damaged in transfer (SHA-256 differs)")
    return file
