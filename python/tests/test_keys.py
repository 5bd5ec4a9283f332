"""Keys and certificates: what a caller may do, and that secrets are not told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from serving import INSTRUCTION, PICTURE, Server, key, serving

from retouch_client import Client, InputError, Refused


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("guarded")
    file, secret = key(folder)
    with serving(folder, RETOUCH__AUTH__KEYS_FILE=str(file)) as server:
        yield server, secret


def test_a_key_lets_its_caller_in(guarded: tuple[Server, str]) -> None:
    server, secret = guarded
    with Client(server.url, api_key=f" {secret}\n") as client:
        assert client.edit(PICTURE, INSTRUCTION, steps=2).seed >= 0
        assert secret not in repr(client) and secret not in repr(client._calls.server)


@pytest.mark.parametrize("given", [None, "rt_wrong"])
def test_a_wrong_key_is_refused_at_once(guarded: tuple[Server, str], given: str | None) -> None:
    server, _ = guarded
    with Client(server.url, api_key=given) as client, pytest.raises(Refused) as raised:
        client.edit(PICTURE, INSTRUCTION)
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "BAD_KEY")
    assert raised.value.remedy == "check api_key" and "rt_wrong" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["localhost:50051", "ftp://host", "http://", "http://user:secret@host", "http://host/v1", "http://host:port"],
)
def test_an_address_that_is_none_is_told_without_its_secrets(url: str) -> None:
    with pytest.raises(InputError, match="http://HOST:PORT") as raised:
        Client(url)
    assert "secret" not in str(raised.value)


def test_certificates_are_for_tls_and_a_key_has_its_certificate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="https"):
        Client("http://localhost:1", ca=b"")
    with pytest.raises(InputError, match="https"):
        Client("http://localhost:1", ca=b"pem")
    with pytest.raises(InputError, match="together"):
        Client("https://localhost:1", client_cert=b"pem")
