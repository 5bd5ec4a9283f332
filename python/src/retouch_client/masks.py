"""Masks, and decisions on masks that a server proposes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, Union

from retouch_client import edit_pb2 as pb
from retouch_client import pictures
from retouch_client.pictures import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels; right and bottom are not part of it."""


@dataclass(frozen=True)
class Mask:
    """Where a picture may change: the union of its parts, then inverted, then grown."""

    image: Picture | None = None
    """A painted mask, white where the picture may change."""
    boxes: Sequence[Box] = ()
    clusters: Sequence[int] = ()
    """Clusters that were proposed, by their id."""
    dilate: int = 0
    """Growth in pixels."""
    feather: int = 0
    """Softness of the border in pixels."""
    invert: bool = False

    def message(self) -> pb.Mask:
        """The schema's message."""
        mask = pb.Mask(dilate_px=self.dilate, feather_px=self.feather, invert=self.invert)
        if self.image is not None:
            mask.image.data = pictures.encoded(self.image, is_mask=True)
        if self.boxes:
            mask.boxes.boxes.extend(pb.Rect(x0=x0, y0=y0, x1=x1, y1=y1) for x0, y0, x1, y1 in self.boxes)
        if self.clusters:
            mask.clusters.ids.extend(self.clusters)
        return mask


@dataclass(frozen=True)
class Accept:
    """The decision to take the mask that was proposed."""

    dilate: int = 0
    """Growth in pixels."""
    feather: int = 0
    """Softness of the border in pixels."""


# Quoted, as `Picture` is.
AnyMask: TypeAlias = Union[Mask, "Picture"]
"""A mask, or a picture of one."""
Decision: TypeAlias = Union[Accept, Mask, "Picture"]
"""A decision on a proposed mask: take it, or another instead."""


@dataclass(frozen=True)
class Proposal:
    """A mask that was found."""

    job: str
    """The job's name."""
    file: bytes = field(repr=False)
    """The mask as a PNG of the picture's size, white where the picture may change."""
    etag: str
    """Says which proposal a decision is about."""
    area: float
    """Share of the picture, 0 to 1."""
    clusters: tuple[pb.Cluster, ...]
    """Clusters to choose from."""
    confidence: float | None
    """How sure it is that the object is there, 0 to 1; None where the server does not tell."""

    @classmethod
    def of(cls, job: str, proposed: pb.MaskProposed, file: bytes) -> Proposal:
        confidence = proposed.confidence if proposed.HasField("confidence") else None
        return cls(job, file, proposed.etag, proposed.area, tuple(proposed.clusters), confidence)

    @property
    def mask(self) -> Image:
        """The mask as a Pillow image."""
        return pictures.decoded(self.file)

    def array(self) -> NDArray[np.bool_]:
        """The mask's pixels, true where the picture may change."""
        return pictures.mask_array(self.file)


def mask_message(mask: AnyMask) -> pb.Mask:
    """The schema's message of a mask."""
    return (mask if isinstance(mask, Mask) else Mask(mask)).message()


def decision_message(decision: Decision, etag: str) -> pb.MaskDecision:
    """The schema's message of a decision, under an id of its own, so that it may be repeated."""
    request_id = str(uuid.uuid4())
    if isinstance(decision, Accept):
        accept = pb.AcceptMask(dilate_px=decision.dilate, feather_px=decision.feather)
        return pb.MaskDecision(accept=accept, etag=etag, request_id=request_id)
    return pb.MaskDecision(replace=mask_message(decision), etag=etag, request_id=request_id)
