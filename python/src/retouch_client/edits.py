"""An edit as it is asked for: a picture, an instruction, and the settings of the schema's `EditSpec` by their names."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from google.protobuf.duration_pb2 import Duration
from typing_extensions import TypedDict, Unpack

from retouch_client import edit_pb2 as pb
from retouch_client import pictures
from retouch_client._names import enum_value
from retouch_client.errors import InputError
from retouch_client.masks import AnyMask, mask_message
from retouch_client.pictures import Picture

Seconds: TypeAlias = float | datetime.timedelta

GRACE = 30
"""Seconds that a server keeps a job whose caller lost its connection: longer than all tries of coming back."""

INLINE = 3 << 20
"""Largest picture in bytes that is sent inside a request; larger ones are uploaded before."""


class Settings(TypedDict, total=False):
    """Settings of an edit, those of the schema's `EditSpec`; what is left out is the model's recommendation.

    docs/settings.md has their ranges and defaults.
    """

    model: str
    seed: int
    steps: int
    text_guidance: float
    image_guidance: float
    mask_policy: Literal["auto", "review", "provided", "localize-only"]
    review_timeout: Seconds
    on_review_timeout: Literal["accept-proposed", "fail"]
    events: pb.EventOptions
    output: Literal["png", "jpeg", "webp"] | pb.OutputOptions
    priority: Literal["interactive", "batch"]
    labels: Mapping[str, str]
    method: Literal["iam-edit", "instruct-pix2pix"]
    tau: float
    cluster_count: int
    localize_steps: int
    preserve: Literal["none", "latent", "pixel"]
    modulation: Literal["gate", "mask", "null", "reference", "isolate"]
    object: str
    action: Literal["change", "add", "remove", "global"]
    resize: int | Literal["native"]
    reuse_localization_of: str
    strict: bool
    ttl: Seconds
    negative_prompt: str
    scheduler: Literal["euler-ancestral", "euler", "ddim", "dpm-solver++-2m", "lcm", "flow-match-euler"]
    preset: Literal["paper"]
    localizer: Literal["iam", "attention", "noise-difference", "diffedit"]
    score: Literal["attention", "noise-difference", "auto"]
    threshold: float
    refine: bool
    grow: float
    min_confidence: float
    localize_seed: int
    metadata: Literal["keep", "color", "strip"]
    verbatim: bool


class Edit:
    """An edit to ask for."""

    def __init__(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.image, self.instruction, self.mask = image, instruction, mask
        self.settings = settings
        self.request_id = request_id or str(uuid.uuid4())
        """The same id asks for the same job, however often it is sent."""

    def __repr__(self) -> str:
        return f"Edit({self.instruction!r}, request_id={self.request_id!r})"

    def message(self) -> pb.CreateEditJobRequest:
        """The schema's message; reads and encodes the pictures."""
        spec = pb.EditSpec(image=pb.Image(data=pictures.encoded(self.image)), instruction=self.instruction)
        for name, value in self.settings.items():
            _set(spec, name, value)
        if self.mask is not None:
            spec.mask.CopyFrom(mask_message(self.mask))
        grace = Duration(seconds=GRACE)
        return pb.CreateEditJobRequest(request_id=self.request_id, spec=spec, disconnect_grace=grace)


NOTHING = pb.EventOptions(preview_every=0, cluster_map=False, heatmaps=False)
"""Neither previews nor maps."""


def quiet(request: pb.CreateEditJobRequest) -> None:
    """Asks for neither previews nor maps, where nobody looks at them."""
    if not request.spec.HasField("events"):
        request.spec.events.CopyFrom(NOTHING)


def large(mask: pb.Mask, image: pb.Image | None = None) -> list[pb.Image]:
    """The pictures that are to be uploaded before a request is sent."""
    found = [] if image is None else [image]
    if mask.HasField("image"):
        found.append(mask.image)
    return [it for it in found if len(it.data) > INLINE]


def _set(spec: pb.EditSpec, name: str, value: Any) -> None:
    """Sets a field by its name; short names of enum values and seconds become the schema's."""
    field = pb.EditSpec.DESCRIPTOR.fields_by_name.get(name)
    if field is None or name in ("image", "instruction", "mask"):
        raise InputError(f"there is no setting {name}")
    try:
        if name == "resize":
            spec.resize.CopyFrom(pb.Resize(native=True) if value == "native" else pb.Resize(fit=value))
        elif name == "output" and isinstance(value, str):
            spec.output.mime_type = f"image/{value}"
        elif name == "labels":
            spec.labels.update(value)
        elif field.enum_type is not None:
            setattr(spec, name, enum_value(field.enum_type, value))
        elif field.message_type == Duration.DESCRIPTOR:
            seconds = value if isinstance(value, datetime.timedelta) else datetime.timedelta(seconds=value)
            getattr(spec, name).FromTimedelta(seconds)
        elif field.message_type is not None:
            getattr(spec, name).CopyFrom(value)
        else:
            setattr(spec, name, value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}={value!r}: {error}") from None
