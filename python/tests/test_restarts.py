"""Edits over a server that is killed and started again, and through a proxy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from serving import INSTRUCTION, PICTURE, ROOT, Server, free_port, nginx, serving

from retouch_client import Accept, AsyncClient, Client, Edit, Proposal, Refused
from retouch_client import edit_pb2 as pb

sys.path.insert(0, str(ROOT / ".ci"))
STEPS = 20
"""Steps of an edit that is long enough to be interrupted."""

LATEST = ("step", "preview", "queue", "heartbeat")
"""Events that are not numbered by themselves."""


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


def restart(server: Server) -> None:
    server.kill()
    time.sleep(0.5)
    server.start()


class Restarting:
    """A listener that restarts the server, once, when the edit's pass has begun."""

    def __init__(self, server: Server) -> None:
        self.server, self.events = server, list[pb.EditEvent]()
        self.thread = threading.Thread(target=restart, args=[server])

    def hear(self, event: pb.EditEvent) -> None:
        self.events.append(event)
        if event.HasField("step") and event.step.step >= 3 and self.thread.ident is None:
            self.thread.start()

    def assert_all_told_once(self) -> None:
        self.thread.join()
        assert self.events[-1].state.state == pb.EditJob.STATE_SUCCEEDED
        assert self.events[-1].attempt >= 1 and len({it.job for it in self.events}) == 1
        control = [it.sequence for it in self.events if it.WhichOneof("event") not in LATEST]
        assert control == list(range(1, len(control) + 1))


def test_an_edit_outlives_a_killed_server(mortal: Server) -> None:
    with Client(mortal.url) as client:
        undisturbed = client.edit(PICTURE, INSTRUCTION, seed=7, steps=STEPS)
        restarting = Restarting(mortal)
        result = client.edit(PICTURE, INSTRUCTION, seed=7, steps=STEPS, on_event=restarting.hear)
        restarting.assert_all_told_once()
        np.testing.assert_array_equal(result.array(), undisturbed.array())
        assert len(list(client.jobs())) == 2


def test_a_stream_is_resumed_over_a_killed_server_for_asyncio_too(mortal: Server) -> None:
    async def edit() -> None:
        async with AsyncClient(mortal.url) as client:
            async for event in client.stream(PICTURE, INSTRUCTION, seed=7, steps=STEPS):
                restarting.hear(event)

    restarting = Restarting(mortal)
    asyncio.run(edit())
    restarting.assert_all_told_once()


def test_a_review_outlives_a_killed_server(mortal: Server) -> None:
    def decide(proposal: Proposal) -> Accept:
        restart(mortal)
        return Accept(dilate=1)

    with Client(mortal.url) as client:
        result = client.edit(PICTURE, INSTRUCTION, review=decide, seed=7, steps=2)
        assert result.job.state == pb.EditJob.STATE_SUCCEEDED


def test_a_batch_goes_on_over_a_killed_server(mortal: Server) -> None:
    edits = [Edit(PICTURE, INSTRUCTION, seed=seed, steps=4) for seed in range(6)]
    with Client(mortal.url) as client:
        outcomes = client.batch(edits, concurrency=3)
        done = [next(outcomes)]
        restart(mortal)
        done += outcomes
        assert sorted(it.index for it in done) == list(range(6)) and all(it.error is None for it in done)
        assert len(list(client.jobs())) == 6


@pytest.fixture
def proxied(mortal: Server, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The server through nginx, as docs/proxies.md has it, with TLS."""
    import proxies

    program = nginx()
    if program is None:
        pytest.skip("there is no nginx")
    folder = tmp_path / "nginx"
    folder.mkdir()
    tmp_path.chmod(0o755)
    proxies.certificate(folder)
    port = free_port()
    text = proxies.block(proxies.PROXIES[0]).replace("50051", str(mortal.port)).replace("8443", str(port))
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off; pid nginx.pid; error_log stderr;"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        assert process.poll() is None
        yield f"https://localhost:{port}", folder / "tls" / "server.pem"
    finally:
        process.terminate()
        process.wait()


def test_an_edit_through_a_proxy_outlives_a_killed_server(mortal: Server, proxied: tuple[str, Path]) -> None:
    url, ca = proxied
    with Client(url, ca=ca) as client:
        restarting = Restarting(mortal)
        source = np.random.default_rng(1).integers(0, 256, (1100, 1100, 3), dtype=np.uint8)
        result = client.edit(source, INSTRUCTION, seed=7, steps=STEPS, on_event=restarting.hear)
        restarting.assert_all_told_once()
        mask = result.mask_array()
        assert mask is not None
        np.testing.assert_array_equal(result.array()[~mask], source[~mask])


def test_a_server_that_stays_away_is_given_up(mortal: Server) -> None:
    with Client(mortal.url) as client:
        job = client.submit(PICTURE, INSTRUCTION, steps=1000)
        mortal.kill()
        start = time.monotonic()
        with pytest.raises(Refused) as raised:
            client.wait(job.name, timeout=3)
        assert raised.value.reason == "CONNECTION_FAILED" and time.monotonic() - start < 4


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path, RETOUCH__JOBS__QUEUE_LIMIT="1") as server, Client(server.url) as client:
        # What the server tells to wait is what an edit has taken so far.
        client.edit(PICTURE, INSTRUCTION, seed=1, steps=1)
        running, waiting = (client.submit(PICTURE, INSTRUCTION, seed=it, steps=1000) for it in range(2))
        with pytest.raises(Refused) as raised:
            client.edit(PICTURE, INSTRUCTION, steps=2, timeout=0.2)
        assert raised.value.reason == "QUEUE_FULL" and raised.value.retry_after
        with ThreadPoolExecutor() as pool:
            third = pool.submit(client.edit, PICTURE, INSTRUCTION, seed=3, steps=2, timeout=60)
            time.sleep(1)
            assert not third.done()
            for job in (waiting, running):
                client.cancel(job.name)
            assert third.result().seed == 3
