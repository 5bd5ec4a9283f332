"""The client: calls that wait. `aio.py` has the same for asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent import futures
from types import TracebackType

from typing_extensions import Self, Unpack

from retouch_client import _wire as wire
from retouch_client import edit_pb2 as pb
from retouch_client._calls import Calls
from retouch_client._follow import ENDED, Follow
from retouch_client._names import StateName, state_numbers
from retouch_client._retry import Deadline
from retouch_client.edits import NOTHING, Edit, Settings, large, quiet
from retouch_client.errors import AnswerUnusable, JobFailed, RetouchError
from retouch_client.masks import AnyMask, Decision, Proposal, decision_message
from retouch_client.pictures import Picture, encoded
from retouch_client.progress import Bar
from retouch_client.results import Outcome, Result, image_of, mask_of

LEAVE = 5.0
"""Seconds that cancelling a job may take when its caller leaves."""

Review = Callable[[Proposal], Decision]
Listener = Callable[[pb.EditEvent], None]


class Client:
    """A server, which is connected to by the first call. May be used by several threads.

    `timeout` of each method is in seconds and holds for all of it, tries and waits included; without one a call takes
    what it takes. Methods raise `Refused`, `Unreachable` and `AnswerUnusable`, and those that wait for a job
    `JobFailed`.
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
        self._calls = Calls(wire.Server.of(url, api_key, ca, client_cert, client_key))

    def close(self) -> None:
        """Ends the connection, and every call on it."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- edits

    def edit(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        review: Review | None = None,
        progress: bool = False,
        on_event: Listener | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[Settings],
    ) -> Result:
        """Edits a picture and waits for the result.

        `review` is given the mask that was found, and decides it. `progress` shows a bar. The job ends with the call:
        when it raises, or its caller is interrupted, the job is cancelled.
        """
        if review is not None:
            settings["mask_policy"] = "review"
        request = Edit(image, instruction, mask=mask, request_id=request_id, **settings).message()
        if on_event is None:
            quiet(request)
        bar = Bar() if progress else None
        deadline = Deadline(timeout)
        try:
            follow = self._begin(request, deadline)
            with self._cancelled_on_error(follow):
                for event in self._calls.events(follow):
                    for listener in (on_event, bar and bar.show):
                        if listener:
                            listener(event)
                    if review is not None and event.HasField("mask_proposed"):
                        self._review(event, review, deadline)
            return self._result(follow.job, deadline)
        finally:
            if bar is not None:
                bar.close()

    def localize(
        self, image: Picture, instruction: str, *, timeout: float | None = None, **settings: Unpack[Settings]
    ) -> Proposal:
        """Finds where an instruction edits, and makes no edit; `reuse_localization_of` takes the name of its job."""
        settings["mask_policy"] = "localize-only"
        request = Edit(image, instruction, **settings).message()
        quiet(request)
        deadline = Deadline(timeout)
        follow = self._begin(request, deadline)
        with self._cancelled_on_error(follow):
            for _ in self._calls.events(follow):
                pass
        job = self._ended(follow.job, deadline)
        return Proposal.of(job.name, job.mask, self._calls.bytes_of(job.mask.mask, deadline))

    def stream(
        self,
        image: Picture,
        instruction: str,
        *,
        mask: AnyMask | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[Settings],
    ) -> Generator[pb.EditEvent, None, None]:
        """Edits a picture and gives its events as they come, resumed where a connection breaks.

        The job is cancelled where the iterator is left before its end.
        """
        deadline = Deadline(timeout)
        request = Edit(image, instruction, mask=mask, request_id=request_id, **settings).message()
        follow = self._begin(request, deadline)
        with self._cancelled_on_error(follow):
            yield from self._calls.events(follow)

    def submit(
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
        request = Edit(image, instruction, mask=mask, request_id=request_id, **settings).message()
        self._calls.place(large(request.spec.mask, request.spec.image), deadline)
        return self._calls.call(wire.CREATE, request, deadline)

    def batch(self, edits: Iterable[Edit], *, concurrency: int = 4) -> Generator[Outcome, None, None]:
        """Makes many edits, so many at a time, and gives each outcome when it is there.

        An edit that fails is an outcome; what no other edit would survive, such as a wrong key, is raised. Jobs at the
        server go on where the iterator is left; the same request ids find them again.
        """
        # A connection of its own, whose end ends the calls that are under way.
        lane = Client.__new__(Client)
        lane._calls = Calls(self._calls.server)
        pool = futures.ThreadPoolExecutor(concurrency)
        running: set[futures.Future[Outcome]] = set()
        try:
            for index, edit in enumerate(edits):
                running.add(pool.submit(lane._outcome, index, edit))
                while len(running) >= concurrency:
                    done, running = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                    yield from (it.result() for it in done)
            while running:
                done, running = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                yield from (it.result() for it in done)
        finally:
            lane.close()
            pool.shutdown(cancel_futures=True)

    # --- jobs

    def get(self, name: str, *, timeout: float | None = None) -> pb.EditJob:
        """A job."""
        return self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), Deadline(timeout))

    def jobs(
        self,
        *,
        states: Iterable[StateName] = (),
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Generator[pb.EditJob, None, None]:
        """The jobs of the key's tenant, newest first."""
        deadline = Deadline(timeout)
        request = pb.ListEditJobsRequest(labels=labels, page_size=200)
        request.states.extend(state_numbers(states))
        while True:
            page = self._calls.call(wire.LIST, request, deadline)
            yield from page.jobs
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(
        self, name: str, *, after: int = 0, events: pb.EventOptions | None = None, timeout: float | None = None
    ) -> Generator[pb.EditEvent, None, None]:
        """A job's events after a sequence number, then those to come, resumed where a connection breaks."""
        return self._calls.events(Follow(Deadline(timeout), job=name, after=after, events=events))

    def wait(self, name: str, *, timeout: float | None = None) -> Result:
        """Waits for a job's end and returns its result. The job goes on when the time is up."""
        deadline = Deadline(timeout)
        for _ in self._calls.events(Follow(deadline, job=name, events=NOTHING)):
            pass
        return self._result(name, deadline)

    def proposal(self, name: str, *, timeout: float | None = None) -> Proposal | None:
        """The mask that a job proposes; None before there is one."""
        deadline = Deadline(timeout)
        job = self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), deadline)
        if not job.HasField("mask"):
            return None
        return Proposal.of(name, job.mask, self._calls.bytes_of(job.mask.mask, deadline))

    def decide(self, name: str, decision: Decision, *, etag: str = "", timeout: float | None = None) -> pb.EditJob:
        """Decides a job's mask; `etag` of a proposal refuses the decision where the proposal is another by now."""
        return self._decide(name, decision_message(decision, etag), Deadline(timeout))

    def cancel(self, name: str, *, reason: str = "", timeout: float | None = None) -> pb.EditJob:
        """Cancels a job."""
        return self._calls.call(wire.CANCEL, pb.CancelEditJobRequest(name=name, reason=reason), Deadline(timeout))

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a job that has ended, with its files."""
        self._calls.call(wire.DELETE, pb.DeleteEditJobRequest(name=name), Deadline(timeout))

    # --- files and the server

    def upload(self, picture: Picture, *, timeout: float | None = None) -> pb.Artifact:
        """Uploads a picture in pieces."""
        return self._calls.upload(encoded(picture), Deadline(timeout))

    def download(self, artifact: pb.Artifact, *, timeout: float | None = None) -> bytes:
        """An artifact's bytes: those that came with it, else downloaded in pieces and compared with its digest."""
        return self._calls.bytes_of(artifact, Deadline(timeout))

    def delete_artifact(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes an uploaded file that no job refers to."""
        self._calls.call(wire.DELETE_ARTIFACT, pb.DeleteArtifactRequest(name=name), Deadline(timeout))

    def info(self, *, timeout: float | None = None) -> pb.ServerInfo:
        """The server's model, defaults, limits and load, and the caller's own usage."""
        return self._calls.call(wire.INFO, pb.GetServerInfoRequest(), Deadline(timeout))

    # --- within

    def _begin(self, request: pb.CreateEditJobRequest, deadline: Deadline) -> Follow:
        self._calls.place(large(request.spec.mask, request.spec.image), deadline)
        return Follow(deadline, start=request)

    @contextlib.contextmanager
    def _cancelled_on_error(self, follow: Follow) -> Iterator[None]:
        """Cancels the job where its caller leaves, as well as it can: else the server does, after a grace."""
        try:
            yield
        except BaseException:
            if follow.job and not follow.is_over:
                with contextlib.suppress(RetouchError, ValueError):
                    self.cancel(follow.job, reason="its caller left", timeout=LEAVE)
            raise

    def _review(self, event: pb.EditEvent, review: Review, deadline: Deadline) -> None:
        proposed = event.mask_proposed
        if proposed.awaiting_decision:
            proposal = Proposal.of(event.job, proposed, self._calls.bytes_of(proposed.mask, deadline))
            self._decide(event.job, decision_message(review(proposal), proposed.etag), deadline)

    def _decide(self, name: str, decision: pb.MaskDecision, deadline: Deadline) -> pb.EditJob:
        self._calls.place(large(decision.replace), deadline)
        return self._calls.call(wire.DECIDE, pb.SubmitMaskRequest(name=name, decision=decision), deadline)

    def _ended(self, name: str, deadline: Deadline) -> pb.EditJob:
        """A job that has succeeded; raises the error of one that has not."""
        job = self._calls.call(wire.GET, pb.GetEditJobRequest(name=name), deadline)
        if job.state not in ENDED:
            raise AnswerUnusable(f"{name} told its end and has none")
        if job.state != pb.EditJob.STATE_SUCCEEDED:
            raise JobFailed(job)
        return job

    def _result(self, name: str, deadline: Deadline) -> Result:
        job = self._ended(name, deadline)
        mask = mask_of(job)
        file = self._calls.bytes_of(image_of(job), deadline)
        return Result(job, file, None if mask is None else self._calls.bytes_of(mask, deadline))

    def _outcome(self, index: int, edit: Edit) -> Outcome:
        try:
            request, deadline = edit.message(), Deadline(None)
            quiet(request)
            if not request.spec.priority:
                request.spec.priority = pb.PRIORITY_BATCH
            self._calls.place(large(request.spec.mask, request.spec.image), deadline)
            job = self._calls.call(wire.CREATE, request, deadline)
            return Outcome(index, edit, self.wait(job.name), None)
        except (RetouchError, OSError) as error:
            if isinstance(error, RetouchError) and error.ends_a_batch:
                raise
            return Outcome(index, edit, None, error)
