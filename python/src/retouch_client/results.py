"""What an edit came to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retouch_client import edit_pb2 as pb
from retouch_client import pictures
from retouch_client.edits import Edit
from retouch_client.errors import AnswerUnusable, RetouchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True, repr=False)
class Result:
    """An edit that succeeded."""

    job: pb.EditJob
    """The job, with every setting filled in."""
    file: bytes
    """The edited picture as the server made it, with its metadata."""
    mask_file: bytes | None
    """The mask as a PNG, white where the picture may change; None where the edit had none."""

    def __repr__(self) -> str:
        return f"Result({self.name!r}, seed={self.seed})"

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    @property
    def seed(self) -> int:
        """The seed, which makes the same picture again."""
        return self.job.spec.seed

    @property
    def image(self) -> Image:
        """The edited picture as a Pillow image."""
        return pictures.decoded(self.file)

    @property
    def mask(self) -> Image | None:
        """The mask as a Pillow image."""
        return None if self.mask_file is None else pictures.decoded(self.mask_file)

    def array(self) -> NDArray[np.uint8]:
        """The edited picture's pixels."""
        return pictures.array(self.file)

    def mask_array(self) -> NDArray[np.bool_] | None:
        """The mask's pixels, true where the picture may change."""
        return None if self.mask_file is None else pictures.mask_array(self.mask_file)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file as the server made it; `output` of the edit says in which format."""
        Path(path).write_bytes(self.file)


@dataclass(frozen=True)
class Outcome:
    """What one edit of a batch came to: a result, or an error."""

    index: int
    """Its place among the edits, from 0."""
    edit: Edit
    result: Result | None
    error: RetouchError | OSError | None

    def unwrap(self) -> Result:
        """The result; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


def image_of(job: pb.EditJob) -> pb.Artifact:
    """The artifact of a job's picture."""
    if not job.result.HasField("image"):
        raise AnswerUnusable(f"{job.name} has no picture")
    return job.result.image


def mask_of(job: pb.EditJob) -> pb.Artifact | None:
    """The artifact of a job's mask, if it has one."""
    return job.result.mask if job.result.HasField("mask") else None
