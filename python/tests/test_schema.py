"""The client's own tables against the schema, the docs and the server's package."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from serving import PICTURE, ROOT

from retouch_client import AsyncClient, Client, Edit, InputError, Settings, remedy
from retouch_client import edit_pb2 as pb
from retouch_client._names import StateName

FIELDS = pb.EditSpec.DESCRIPTOR.fields_by_name
HINTS = get_type_hints(Settings)


def test_every_field_of_a_spec_is_a_setting() -> None:
    assert set(HINTS) == set(FIELDS) - {"image", "instruction", "mask"}


@pytest.mark.parametrize("name", [it for it in HINTS if FIELDS[it].enum_type is not None])
def test_every_value_of_an_enum_has_its_short_name(name: str) -> None:
    assert get_origin(HINTS[name]) is Literal
    enum = FIELDS[name].enum_type
    assert enum is not None
    given: list[Any] = [{name: it} for it in get_args(HINTS[name])]
    set_to = [Edit(PICTURE, "x", **settings).message().spec for settings in given]
    assert sorted(getattr(it, name) for it in set_to) == [it.number for it in enum.values if it.number]


def test_every_state_has_its_short_name() -> None:
    states = [it.name.removeprefix("STATE_").lower().replace("_", "-") for it in pb.EditJob.State.DESCRIPTOR.values]
    assert list(get_args(StateName)) == states[1:]


def test_settings_become_the_schemas() -> None:
    spec = Edit(PICTURE, "x", resize=64, ttl=1.5, output="jpeg", labels={"a": "b"}, metadata="strip").message().spec
    assert (spec.resize.fit, spec.ttl.ToMilliseconds(), spec.output.mime_type) == (64, 1500, "image/jpeg")
    assert spec.labels == {"a": "b"} and spec.metadata == pb.METADATA_POLICY_STRIP
    assert Edit(PICTURE, "x", resize="native").message().spec.resize.native
    assert not Edit(PICTURE, "x").message().spec.HasField("seed")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": -1}, "steps=-1"),
        ({"preserve": "all"}, "expected one of none, latent, pixel"),
        ({"stepz": 1}, "stepz"),
    ],
)
def test_a_setting_that_can_not_be_is_told_by_its_name(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Edit(PICTURE, "x", **settings).message()


def test_every_reason_of_the_docs_has_a_remedy() -> None:
    table = (ROOT / "docs" / "service.md").read_text().split("## Errors")[1].split("\n## ")[0]
    # The second column of the table: the first has gRPC's codes.
    cells = [row.split(" | ")[1] for row in table.splitlines() if row.startswith("| `") or row.startswith("| | `")]
    reasons = {it for cell in cells for it in re.findall(r"`([A-Z_]{4,})`", cell)}
    assert len(reasons) > 30 and not [it for it in reasons if not remedy(it)]


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        public = inspect.getmembers(kind, lambda it: inspect.isfunction(it))
        return {name: list(inspect.signature(it).parameters) for name, it in public if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_the_version_is_the_servers() -> None:
    cargo = (ROOT / "Cargo.toml").read_text()
    assert f'\nversion = "{version("retouch-client")}"\n' in cargo
