"""Connections that break, and refusals, by a server that is scripted: what is asked again, and from where."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from retouch_client import AnswerUnusable, AsyncClient, Client, Refused
from retouch_client import edit_pb2 as pb
from retouch_client._retry import LONGEST, LONGEST_TOLD, TRIES, TRIES_TOLD, Deadline, Retry

JOB = "jobs/01a22e31-706a-74ec-8ecd-faa58935824f"
Answer = Callable[[Any, grpc.ServicerContext], Any]


class Script:
    """A server whose calls are answered by a list, one after the other; notes what they asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), list[Any]()

    def handle(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append(request)
        return self.answers.pop(0)(request, context)

    @contextmanager
    def serve(self) -> Iterator[str]:
        unary = grpc.unary_unary_rpc_method_handler
        stream = grpc.unary_stream_rpc_method_handler
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetServerInfo": unary(self.handle, pb.GetServerInfoRequest.FromString, pb.ServerInfo.SerializeToString),
            "WatchEditJob": stream(self.handle, pb.WatchEditJobRequest.FromString, pb.EditEvent.SerializeToString),
            "DownloadArtifact": stream(
                self.handle, pb.DownloadArtifactRequest.FromString, pb.ArtifactChunk.SerializeToString
            ),
        }
        server = grpc.server(futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("retouch.v1.EditService", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def refuse(code: grpc.StatusCode, reason: str = "", wait: float | None = None, pushback: int | None = None) -> Answer:
    """An answer that refuses the call."""

    def answer(_: Any, context: grpc.ServicerContext) -> Any:
        details = list[AnyMessage]()
        for told in (ErrorInfo(reason=reason) if reason else None, wait and RetryInfo(retry_delay=seconds(wait))):
            if told:
                details.append(AnyMessage())
                details[-1].Pack(told)
        status = Status(code=code.value[0], message="no", details=details)
        trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
        if pushback is not None:
            trailers.append(("grpc-retry-pushback-ms", str(pushback)))
        context.set_trailing_metadata(tuple(trailers))
        context.abort(code, "no")

    return answer


def seconds(wait: float) -> Duration:
    return Duration(nanos=int(wait * 1e9))


def info(_: Any, context: grpc.ServicerContext) -> pb.ServerInfo:
    return pb.ServerInfo(model="scripted")


def ask(kind: type, script: Script, call: str, *args: Any) -> Any:
    """What a call of either client gives; all items of an iterator."""
    with script.serve() as url:
        if kind is Client:
            with Client(url) as client:
                given = getattr(client, call)(*args)
                return list(given) if call == "watch" else given

        async def run() -> Any:
            async with AsyncClient(url) as client:
                given = getattr(client, call)(*args)
                return [it async for it in given] if call == "watch" else await given

        return asyncio.run(run())


BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


@BOTH
def test_a_download_goes_on_where_it_broke(kind: type) -> None:
    file = bytes(range(256)) * 9

    def part(end: int | None, breaks: bool) -> Answer:
        def answer(request: pb.DownloadArtifactRequest, context: grpc.ServicerContext) -> Iterator[pb.ArtifactChunk]:
            yield pb.ArtifactChunk(offset=request.offset, data=file[request.offset : end])
            if breaks:
                context.abort(UNAVAILABLE, "the connection broke")

        return answer

    script = Script(part(700, True), part(1000, False), part(None, False))
    digest = hashlib.sha256(file).digest()
    artifact = pb.Artifact(name="artifacts/1", size_bytes=len(file), sha256=digest)
    assert ask(kind, script, "download", artifact) == file
    assert [it.offset for it in script.asked] == [0, 700, 1000]
    artifact.sha256 = b"another"
    with pytest.raises(AnswerUnusable, match="SHA-256"):
        ask(kind, Script(part(None, False)), "download", artifact)


@BOTH
def test_events_go_on_where_they_broke_and_each_is_told_once(kind: type) -> None:
    def events(numbers: range, ends: bool, breaks: bool) -> Answer:
        def answer(request: pb.WatchEditJobRequest, context: grpc.ServicerContext) -> Iterator[pb.EditEvent]:
            for number in numbers:
                yield pb.EditEvent(job=JOB, sequence=number, warning=pb.Warning(reason=str(number)))
            if ends:
                state = pb.StateChanged(state=pb.EditJob.STATE_SUCCEEDED)
                yield pb.EditEvent(job=JOB, sequence=numbers.stop, state=state)
            if breaks:
                context.abort(grpc.StatusCode.UNKNOWN, "h2 protocol error")

        return answer

    script = Script(
        events(range(1, 3), False, True),
        refuse(UNAVAILABLE),
        events(range(3, 5), False, False),
        events(range(5, 6), True, True),
    )
    assert [it.sequence for it in ask(kind, script, "watch", JOB)] == [1, 2, 3, 4, 5, 6]
    assert [it.after_sequence for it in script.asked] == [0, 2, 2, 4]


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        refuse(UNAVAILABLE, "DRAINING"),
        refuse(UNAVAILABLE, "MODEL_LOADING", wait=0.05),
        refuse(EXHAUSTED, "QUEUE_FULL", wait=0.05),
        refuse(EXHAUSTED, "RATE_LIMITED", wait=9, pushback=50),
        refuse(grpc.StatusCode.CANCELLED),
        refuse(grpc.StatusCode.INTERNAL),
    ],
)
def test_what_may_go_well_later_is_asked_again(kind: type, refusal: Answer) -> None:
    script = Script(refusal, refusal, info)
    start = time.monotonic()
    assert ask(kind, script, "info").model == "scripted"
    assert len(script.asked) == 3 and 0.1 <= time.monotonic() - start < 8


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        refuse(UNAVAILABLE, "DRAINING", pushback=-1),
        refuse(EXHAUSTED, "DISK_FULL"),
        refuse(grpc.StatusCode.INTERNAL, "INTERNAL"),
        refuse(grpc.StatusCode.INVALID_ARGUMENT, "BAD_IMAGE"),
        refuse(grpc.StatusCode.UNAUTHENTICATED),
        refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "RUN_TIMEOUT"),
    ],
)
def test_what_can_not_go_well_is_asked_once(kind: type, refusal: Answer) -> None:
    script = Script(refusal)
    with pytest.raises(Refused):
        ask(kind, script, "info")
    assert len(script.asked) == 1


def refusal(retry_after: float | None) -> Refused:
    return Refused(UNAVAILABLE, "", "no", retry_after=retry_after)


def test_waits_grow_and_end() -> None:
    retry, waits = Retry(Deadline(None)), list[float]()
    with pytest.raises(Refused):
        while True:
            waits.append(retry.pause(refusal(None)))
    assert len(waits) == TRIES and waits[5] > waits[0] and all(0.1 <= it <= 2 * LONGEST for it in waits)


def test_a_time_that_the_server_names_is_kept_to_within_a_bound() -> None:
    retry = Retry(Deadline(None))
    assert retry.pause(refusal(7)) == 7 and retry.pause(refusal(3600)) == LONGEST_TOLD
    for _ in range(TRIES_TOLD - 2):
        assert retry.pause(refusal(1)) == 1
    with pytest.raises(Refused):
        retry.pause(refusal(1))


def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    with pytest.raises(Refused):
        Retry(Deadline(1)).pause(refusal(7))
