"""A server and a client for every test that needs no server of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import Server, serving

from retouch_client import Client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client
