"""Short names of the schema's enum values: `pixel` for `PRESERVE_PIXEL`, `dpm-solver++-2m` as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from retouch_client import edit_pb2 as pb

StateName = Literal[
    "queued", "localizing", "awaiting-mask", "mask-ready", "editing", "succeeded", "failed", "cancelled"
]


class Value(Protocol):
    """A value of an enum; protobuf's descriptors come in several classes."""

    @property
    def name(self) -> str: ...
    @property
    def number(self) -> int: ...


class Enum(Protocol):
    """An enum, whose first value is the unset one."""

    @property
    def values(self) -> Sequence[Value]: ...


def enum_value(enum: Enum, short: str) -> int:
    """The value of a short name."""
    unset, *values = enum.values
    prefix = unset.name.removesuffix("UNSPECIFIED")
    long = prefix + short.replace("++", "-plus-plus").upper().replace("-", "_")
    for it in values:
        if it.name == long:
            return it.number
    known = ", ".join(short_name(it.name, prefix) for it in values)
    raise ValueError(f"expected one of {known}")


def short_name(long: str, prefix: str) -> str:
    """The short name of a value."""
    return long.removeprefix(prefix).lower().replace("_", "-")


def state_numbers(states: Iterable[StateName]) -> list[pb.EditJob.State.ValueType]:
    """The states of these short names."""
    return [pb.EditJob.State.ValueType(enum_value(pb.EditJob.State.DESCRIPTOR, it)) for it in states]
