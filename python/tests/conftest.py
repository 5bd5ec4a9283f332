"""A server and a client for every test that needs no server of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import Server, quick_model, serving

from retouch_client import Client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, RETOUCH__MODEL__PATH=str(quick_model(folder))) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client
