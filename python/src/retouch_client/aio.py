"""The client for asyncio: the calls of `client.py`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType

import grpc
from typing_extensions import Self, Unpack

from retouch_client import _wire as wire
from retouch_client import edit_pb2 as pb
from retouch_client._aio_calls import AioCalls
from retouch_client._follow import ENDED, Follow
from retouch_client._names import StateName, state_numbers
from retouch_client._retry import Deadline
from retouch_client.client import LEAVE, Listener, Review
from retouch_client.edits import NOTHING, Edit, Settings, large, quiet
from retouch_client.errors import AnswerUnusable, JobFailed, RetouchError
from retouch_client.masks import AnyMask, Decision, Proposal, decision_message
from retouch_client.pictures import Picture, encoded
from retouch_client.progress import Bar
from retouch_client.results import Outcome, Result, image_of, mask_of

AsyncReview = Callable[[Proposal], Awaitable[Decision]]


class AsyncClient:
    """A server, which is connected to by the first call; what `Client` says holds here too.

    A cancelled task cancels its job, as an error does.
    """

    def __init__(
        self,
        url: str = "http://localhost:50051",
        *,
        api_key: str | None = None,
        ca: wire.File | None = None,
        client_cert: wire.File | None = None,
        client_key: wire.File | None = None,
    ) -> None:
        """`ca` are certificates that may have signed the server's, instead of the system's; PEM, a path or bytes."""
        self._calls = AioCalls(wire.Server.of(url, api_key, ca, client_cert, client_key))

    async def close(self) -> None:
        """Ends the connection, and every call on it."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- edits

    async def edit(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        review: Review | AsyncReview | None = None,
        progress: bool = False,
        on_event: Listener | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[Settings],
    ) -> Result:
        """Edits a picture and waits for the result.

        `review` is given the mask that was found, and decides it. `progress` shows a bar. The job ends with the call:
        when it raises, or its task is cancelled, the job is cancelled.
        """
        if review is not None:
            settings["mask_policy"] = "review"
        request = await _message(Edit(image, instruction, mask=mask, request_id=request_id, **settings))
        if on_event is None:
            quiet(request)
        bar = Bar() if progress else None
        deadline = Deadline(timeout)
        try:
            follow = await self._begin(request, deadline)
            async with self._cancelled_on_error(follow):
                async for event in self._calls.events(follow):
                    for listener in (on_event, bar and bar.show):
                        if listener:
                            listener(event)
                    if review is not None and event.HasField("mask_proposed"):
                        await self._review(event, review, deadline)
            return await self._result(follow.job, deadline)
        finally:
            if bar is not None:
                bar.close()

    async def localize(
        self, image: Picture, instruction: str, *, timeout: float | None = None, **settings: Unpack[Settings]
    ) -> Proposal:
        """Finds where an instruction edits, and makes no edit; `reuse_localization_of` takes the name of its job."""
        settings["mask_policy"] = "localize-only"
        request = await _message(Edit(image, instruction, **settings))
        quiet(request)
        deadline = Deadline(timeout)
        follow = await self._begin(request, deadline)
        async with self._cancelled_on_error(follow):
            async for _ in self._calls.events(follow):
                pass
        job = await self._ended(follow.job, deadline)
        return Proposal.of(job.name, job.mask, await self._calls.bytes_of(job.mask.mask, deadline))

    async def stream(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[Settings],
    ) -> AsyncGenerator[pb.EditEvent, None]:
        """Edits a picture and gives its events as they come, resumed where a connection breaks.

        The job is cancelled where the iterator is closed before its end.
        """
        deadline = Deadline(timeout)
        request = await _message(Edit(image, instruction, mask=mask, request_id=request_id, **settings))
        follow = await self._begin(request, deadline)
        async with self._cancelled_on_error(follow):
            async for event in self._calls.events(follow):
                yield event

    async def submit(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[Settings],
    ) -> pb.EditJob:
        """Asks for an edit and returns its job as soon as that is kept; it goes on without a caller."""
        deadline = Deadline(timeout)
        request = await _message(Edit(image, instruction, mask=mask, request_id=request_id, **settings))
        await self._calls.place(large(request.spec.mask, request.spec.image), deadline)
        return await self._calls.call(wire.CREATE, request, deadline)

    async def batch(self, edits: Iterable[Edit], *, concurrency: int = 4) -> AsyncGenerator[Outcome, None]:
        """Makes many edits, so many at a time, and gives each outcome when it is there.

        An edit that fails is an outcome; what no other edit would survive, such as a wrong key, is raised. Jobs at the
        server go on where the iterator is closed; the same request ids find them again.
        """
        running: set[asyncio.Task[Outcome]] = set()
        try:
            for index, edit in enumerate(edits):
                running.add(asyncio.create_task(self._outcome(index, edit)))
                while len(running) >= concurrency:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    # --- jobs

    async def get(self, name: str, *, timeout: float | None = None) -> pb.EditJob:
        """A job."""
        return await self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), Deadline(timeout))

    async def jobs(
        self,
        *,
        states: Iterable[StateName] = (),
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[pb.EditJob, None]:
        """The jobs of the key's tenant, newest first."""
        deadline = Deadline(timeout)
        request = pb.ListEditJobsRequest(labels=labels, page_size=200)
        request.states.extend(state_numbers(states))
        while True:
            page = await self._calls.call(wire.LIST, request, deadline)
            for job in page.jobs:
                yield job
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(
        self, name: str, *, after: int = 0, events: pb.EventOptions | None = None, timeout: float | None = None
    ) -> AsyncGenerator[pb.EditEvent, None]:
        """A job's events after a sequence number, then those to come, resumed where a connection breaks."""
        return self._calls.events(Follow(Deadline(timeout), job=name, after=after, events=events))

    async def wait(self, name: str, *, timeout: float | None = None) -> Result:
        """Waits for a job's end and returns its result. The job goes on when the time is up."""
        deadline = Deadline(timeout)
        async for _ in self._calls.events(Follow(deadline, job=name, events=NOTHING)):
            pass
        return await self._result(name, deadline)

    async def proposal(self, name: str, *, timeout: float | None = None) -> Proposal | None:
        """The mask that a job proposes; None before there is one."""
        deadline = Deadline(timeout)
        job = await self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), deadline)
        if not job.HasField("mask"):
            return None
        return Proposal.of(name, job.mask, await self._calls.bytes_of(job.mask.mask, deadline))

    async def decide(
        self, name: str, decision: Decision, *, etag: str = "", timeout: float | None = None
    ) -> pb.EditJob:
        """Decides a job's mask; `etag` of a proposal refuses the decision where the proposal is another by now."""
        message = await asyncio.to_thread(decision_message, decision, etag)
        return await self._decide(name, message, Deadline(timeout))

    async def cancel(self, name: str, *, reason: str = "", timeout: float | None = None) -> pb.EditJob:
        """Cancels a job."""
        return await self._calls.call(wire.CANCEL, pb.CancelEditJobRequest(name=name, reason=reason), Deadline(timeout))

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a job that has ended, with its files."""
        await self._calls.call(wire.DELETE, pb.DeleteEditJobRequest(name=name), Deadline(timeout))

    # --- files and the server

    async def upload(self, picture: Picture, *, timeout: float | None = None) -> pb.Artifact:
        """Uploads a picture in pieces."""
        return await self._calls.upload(await asyncio.to_thread(encoded, picture), Deadline(timeout))

    async def download(self, artifact: pb.Artifact, *, timeout: float | None = None) -> bytes:
        """An artifact's bytes: those that came with it, else downloaded in pieces and compared with its digest."""
        return await self._calls.bytes_of(artifact, Deadline(timeout))

    async def delete_artifact(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes an uploaded file that no job refers to."""
        await self._calls.call(wire.DELETE_ARTIFACT, pb.DeleteArtifactRequest(name=name), Deadline(timeout))

    async def info(self, *, timeout: float | None = None) -> pb.ServerInfo:
        """The server's model, defaults, limits and load, and the caller's own usage."""
        return await self._calls.call(wire.INFO, pb.GetServerInfoRequest(), Deadline(timeout))

    # --- within

    async def _begin(self, request: pb.CreateEditJobRequest, deadline: Deadline) -> Follow:
        await self._calls.place(large(request.spec.mask, request.spec.image), deadline)
        return Follow(deadline, start=request)

    @contextlib.asynccontextmanager
    async def _cancelled_on_error(self, follow: Follow) -> AsyncIterator[None]:
        """Cancels the job where its caller leaves, as well as it can: else the server does, after a grace."""
        try:
            yield
        except BaseException:
            if follow.job and not follow.is_over:
                with contextlib.suppress(RetouchError, grpc.aio.UsageError):
                    await self.cancel(follow.job, reason="its caller left", timeout=LEAVE)
            raise

    async def _review(self, event: pb.EditEvent, review: Review | AsyncReview, deadline: Deadline) -> None:
        proposed = event.mask_proposed
        if proposed.awaiting_decision:
            proposal = Proposal.of(event.job, proposed, await self._calls.bytes_of(proposed.mask, deadline))
            decision = review(proposal)
            if isinstance(decision, Awaitable):
                decision = await decision
            message = await asyncio.to_thread(decision_message, decision, proposed.etag)
            await self._decide(event.job, message, deadline)

    async def _decide(self, name: str, decision: pb.MaskDecision, deadline: Deadline) -> pb.EditJob:
        await self._calls.place(large(decision.replace), deadline)
        return await self._calls.call(wire.DECIDE, pb.SubmitMaskRequest(name=name, decision=decision), deadline)

    async def _ended(self, name: str, deadline: Deadline) -> pb.EditJob:
        """A job that has succeeded; raises the error of one that has not."""
        job = await self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), deadline)
        if job.state not in ENDED:
            raise AnswerUnusable(f"{name} told its end and has none")
        if job.state != pb.EditJob.STATE_SUCCEEDED:
            raise JobFailed(job)
        return job

    async def _result(self, name: str, deadline: Deadline) -> Result:
        job = await self._ended(name, deadline)
        mask = mask_of(job)
        file = await self._calls.bytes_of(image_of(job), deadline)
        return Result(job, file, None if mask is None else await self._calls.bytes_of(mask, deadline))

    async def _outcome(self, index: int, edit: Edit) -> Outcome:
        try:
            request, deadline = await _message(edit), Deadline(None)
            quiet(request)
            if not request.spec.priority:
                request.spec.priority = pb.PRIORITY_BATCH
            await self._calls.place(large(request.spec.mask, request.spec.image), deadline)
            job = await self._calls.call(wire.CREATE, request, deadline)
            return Outcome(index, edit, await self.wait(job.name), None)
        except (RetouchError, OSError) as error:
            if isinstance(error, RetouchError) and error.ends_a_batch:
                raise
            return Outcome(index, edit, None, error)


async def _message(edit: Edit) -> pb.CreateEditJobRequest:
    """An edit's message; reading and encoding pictures would hold up the loop."""
    return await asyncio.to_thread(edit.message)
