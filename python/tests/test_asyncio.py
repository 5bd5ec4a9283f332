"""The client for asyncio, which shares with the other all but its waiting."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import INSTRUCTION, PICTURE, Server

from retouch_client import Accept, AsyncClient, Edit, JobFailed, Mask, Proposal, Refused, Unreachable
from retouch_client import edit_pb2 as pb

STEPS = 3


def test_edits_run_beside_one_another(server: Server) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            edits = (client.edit(PICTURE, INSTRUCTION, seed=it, steps=STEPS) for it in range(3))
            results = await asyncio.gather(*edits)
            assert len({it.file for it in results}) == 3
            source = np.asarray(Image.open(PICTURE).convert("RGB"))
            for result in results:
                mask = result.mask_array()
                assert mask is not None
                np.testing.assert_array_equal(result.array()[~mask], source[~mask])

    asyncio.run(run())


@pytest.mark.parametrize("waits", [False, True])
def test_a_review_may_be_awaited(server: Server, waits: bool) -> None:
    async def later(proposal: Proposal) -> Mask:
        await asyncio.sleep(0.1)
        return Mask(clusters=[proposal.clusters[0].id])

    def now(proposal: Proposal) -> Mask:
        return Mask(clusters=[proposal.clusters[0].id])

    async def run() -> None:
        async with AsyncClient(server.url) as client:
            result = await client.edit(PICTURE, INSTRUCTION, review=later if waits else now, seed=7, steps=STEPS)
            assert result.mask_array() is not None

    asyncio.run(run())


def test_a_cancelled_task_cancels_its_job(server: Server) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def hear(event: pb.EditEvent) -> None:
                if event.HasField("step") and not begun.done():
                    begun.set_result(event.job)

            task = asyncio.create_task(client.edit(PICTURE, INSTRUCTION, steps=1000, on_event=hear))
            name = await begun
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.get(name)).state == pb.EditJob.STATE_CANCELLED

    asyncio.run(run())


def test_a_stream_that_is_closed_cancels_its_job(server: Server) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            async with aclosing(client.stream(PICTURE, INSTRUCTION, steps=1000)) as events:
                async for event in events:
                    if event.HasField("step"):
                        break
            assert (await client.get(event.job)).state == pb.EditJob.STATE_CANCELLED

    asyncio.run(run())


def test_a_detached_job_is_decided_and_waited_for(server: Server) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            found = await client.localize(PICTURE, INSTRUCTION, seed=7)
            labels = {"a": "io"}
            job = await client.submit(PICTURE, INSTRUCTION, mask_policy="review", seed=7, steps=STEPS, labels=labels)
            async for event in client.watch(job.name):
                if event.HasField("mask_proposed"):
                    break
            proposal = await client.proposal(job.name)
            assert proposal is not None and proposal.file == found.file
            await client.decide(job.name, Accept(), etag=proposal.etag)
            result = await client.wait(job.name)
            assert result.mask_file == proposal.file
            assert [it.name async for it in client.jobs(labels=labels)] == [job.name]
            await client.delete(job.name)

    asyncio.run(run())


def test_a_batch_has_an_outcome_for_each_edit(server: Server, tmp_path: Path) -> None:
    async def run() -> None:
        edits = [Edit(PICTURE, INSTRUCTION, seed=seed, steps=STEPS) for seed in range(3)]
        edits.append(Edit(tmp_path / "none.png", INSTRUCTION))
        async with AsyncClient(server.url) as client:
            outcomes = [it async for it in client.batch(edits, concurrency=2)]
        outcomes.sort(key=lambda it: it.index)
        assert [type(it.error) for it in outcomes] == 3 * [type(None)] + [FileNotFoundError]

    asyncio.run(run())


def test_large_pictures_are_sent_and_fetched_in_pieces(server: Server) -> None:
    async def run() -> None:
        source = np.random.default_rng(1).integers(0, 256, (1150, 1150, 3), dtype=np.uint8)
        async with AsyncClient(server.url) as client:
            result = await client.edit(source, INSTRUCTION, mask=Mask(boxes=[(8, 8, 90, 90)]), seed=7, steps=STEPS)
            assert len(result.file) > 3 << 20
            artifact = await client.upload(result.file)
            stored = pb.Artifact(name=artifact.name, size_bytes=artifact.size_bytes, sha256=artifact.sha256)
            assert await client.download(stored) == result.file
            await client.delete_artifact(artifact.name)

    asyncio.run(run())


def test_errors_are_those_of_the_other_client(server: Server) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            with pytest.raises(Refused) as refused:
                await client.edit(PICTURE, INSTRUCTION, steps=0)
            assert refused.value.fields == ("spec.steps",)
            with pytest.raises(Refused, match="CLIENT_DEADLINE"):
                await client.edit(PICTURE, INSTRUCTION, steps=1000, timeout=1)
            with pytest.raises(JobFailed):
                await client.edit(PICTURE, "change the zebra to blue", strict=True, min_confidence=1.0, steps=STEPS)
            assert (await client.info()).model == "demo-model"
            cancelled = await client.submit(PICTURE, INSTRUCTION, steps=1000)
            assert (await client.cancel(cancelled.name)).state == pb.EditJob.STATE_CANCELLED
        async with AsyncClient("http://localhost:1") as nowhere:
            with pytest.raises(Unreachable):
                await nowhere.info()

    asyncio.run(run())
