"""Calls through a proxy, each of which raises on failure.

Bidirectional streams, long idle times, large bodies, disconnects, gRPC-Web from pages, server restarts.
"""

import hashlib
import http.client
import os
import queue
import ssl
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration
from retouch.v1 import edit_pb2 as pb
from retouch.v1.edit_pb2_grpc import EditServiceStub

PICTURE = Path(__file__).resolve().parent.parent / "assets" / "example.png"
SERVICE = "retouch.v1.EditService"
SILENCE = 65
"""Seconds without traffic: more than the default idle timeout of many proxies, 60 s."""
HEADERS = 15
"""Seconds after which RunEdit sends its response headers; its idle time begins there."""
PATIENCE = HEADERS + SILENCE + 120
"""Seconds that a call may take on a busy machine."""


class Through:
    """Connection settings for the server through the proxy on a port."""

    def __init__(self, port: int, roots: bytes) -> None:
        self.port, self.roots = port, roots

    @contextmanager
    def stub(self) -> Iterator[EditServiceStub]:
        """A new connection."""
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        credentials = grpc.ssl_channel_credentials(self.roots)
        with grpc.secure_channel(f"localhost:{self.port}", credentials, options) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            stub = EditServiceStub(channel)
            stub.channel = channel
            yield stub


def request(**spec) -> pb.CreateEditJobRequest:
    """A short edit, with overrides."""
    given = {"image": pb.Image(data=PICTURE.read_bytes()), "instruction": "change the black tree to blue", "seed": 7, "steps": 2}
    spec = pb.EditSpec(**{**given, **spec})
    return pb.CreateEditJobRequest(request_id=str(uuid.uuid4()), spec=spec, disconnect_grace=Duration(seconds=1))


def silent(seconds: int) -> pb.CreateEditJobRequest:
    """An edit that waits this long for a mask decision, without traffic."""
    wait = Duration(seconds=seconds)
    return request(mask_policy=pb.MASK_POLICY_REVIEW, review_timeout=wait, on_review_timeout=pb.REVIEW_TIMEOUT_ACTION_ACCEPT_PROPOSED)


def ended(stub: EditServiceStub, name: str) -> pb.EditJob:
    """Waits for a job to end and returns it."""
    over = {pb.EditJob.STATE_SUCCEEDED, pb.EditJob.STATE_FAILED, pb.EditJob.STATE_CANCELLED}
    for _ in range(600):
        job = stub.GetEditJob(pb.GetEditJobRequest(name=name), timeout=30)
        if job.state in over:
            return job
        time.sleep(0.2)
    raise AssertionError(f"{name} never ended")


# --- silence


def stream_edit_waits_for_a_review(through: Through) -> None:
    with through.stub() as stub:
        events = list(stub.StreamEdit(silent(SILENCE), timeout=PATIENCE))
        kinds = [it.WhichOneof("event") for it in events]
        assert kinds.count("heartbeat") >= 3, kinds
        assert "result" in kinds and events[-1].state.state == pb.EditJob.STATE_SUCCEEDED, kinds


def run_edit(through: Through) -> None:
    with through.stub() as stub:
        started = time.monotonic()
        job = stub.RunEdit(silent(HEADERS + SILENCE), timeout=PATIENCE)
        assert time.monotonic() - started > HEADERS + SILENCE
        assert job.state == pb.EditJob.STATE_SUCCEEDED and job.result.image.inline.startswith(b"\x89PNG"), job.state


def edit_whose_caller_is_silent(through: Through) -> None:
    said: queue.Queue = queue.Queue()
    start = silent(10 * SILENCE)
    said.put(pb.EditInput(start=start))

    def decide() -> None:
        said.put(pb.EditInput(mask=pb.MaskDecision(accept=pb.AcceptMask(feather_px=1))))

    with through.stub() as stub:
        kinds = []
        for event in stub.Edit(iter(said.get, None), timeout=PATIENCE):
            kinds.append(event.WhichOneof("event"))
            if kinds[-1] == "mask_proposed":
                threading.Timer(SILENCE, decide).start()
        assert "mask_settled" in kinds and "result" in kinds, kinds


SILENT = [stream_edit_waits_for_a_review, run_edit, edit_whose_caller_is_silent]


# --- streams as they happen


def events_come_as_they_happen_and_masks_are_decided(through: Through) -> None:
    """A buffering proxy would hold back the proposed mask, without which the job can't get its decision and end."""
    said: queue.Queue = queue.Queue()
    said.put(pb.EditInput(start=silent(600)))
    with through.stub() as stub:
        kinds = []
        for event in stub.Edit(iter(said.get, None), timeout=PATIENCE):
            kinds.append(event.WhichOneof("event"))
            if kinds[-1] == "mask_proposed":
                said.put(pb.EditInput(mask=pb.MaskDecision(accept=pb.AcceptMask())))
        assert "result" in kinds, kinds


def cancel_on_the_stream(through: Through) -> None:
    said: queue.Queue = queue.Queue()
    said.put(pb.EditInput(start=silent(600)))
    with through.stub() as stub:
        try:
            for event in stub.Edit(iter(said.get, None), timeout=PATIENCE):
                if event.WhichOneof("event") == "mask_proposed":
                    said.put(pb.EditInput(cancel=pb.CancelInput(reason="no more")))
        except grpc.RpcError as error:
            # Not the code alone, which a proxy that cuts the stream gives too.
            assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, "no more"), error
        else:
            raise AssertionError("the stream ended well")


# --- bodies


def noise(side: int) -> bytes:
    """An incompressible PNG."""
    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def bodies_of_33_mb_come_and_go(through: Through) -> None:
    picture = noise(3310)
    assert 32_800_000 < len(picture) < 33_500_000, len(picture)
    boxes = pb.BoxSet(boxes=[pb.Rect(x1=9, y1=9)])
    with through.stub() as stub:
        job = stub.CreateEditJob(request(image=pb.Image(data=picture), mask=pb.Mask(boxes=boxes)), timeout=PATIENCE)
        name = job.spec.image.artifact
        chunks = stub.DownloadArtifact(pb.DownloadArtifactRequest(name=name), timeout=PATIENCE)
        back = hashlib.sha256()
        for chunk in chunks:
            back.update(chunk.data)
        assert back.digest() == hashlib.sha256(picture).digest()
        stub.CancelEditJob(pb.CancelEditJobRequest(name=job.name), timeout=30)


def what_is_too_large_is_refused_by_the_server(through: Through) -> None:
    with through.stub() as stub:
        try:
            stub.CreateEditJob(request(image=pb.Image(data=bytes(34_000_000))), timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.OUT_OF_RANGE, error
        else:
            raise AssertionError("it was taken")


def uploads_stream(through: Through) -> None:
    picture = noise(1200)

    def pieces() -> Iterator[pb.UploadArtifactRequest]:
        yield pb.UploadArtifactRequest(header=pb.UploadHeader(mime_type="image/png", size_bytes=len(picture)))
        for start in range(0, len(picture), 1 << 18):
            yield pb.UploadArtifactRequest(chunk=picture[start : start + (1 << 18)])

    with through.stub() as stub:
        assert stub.UploadArtifact(pieces(), timeout=PATIENCE).sha256 == hashlib.sha256(picture).digest()


# --- refusals, health, hang-ups


def refusals_keep_their_details(through: Through) -> None:
    with through.stub() as stub:
        try:
            stub.RunEdit(request(steps=0), timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert b"spec.steps" in details, details
        else:
            raise AssertionError("it was taken")


def health_is_asked_through_it(through: Through) -> None:
    with through.stub() as stub:
        check = stub.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=30) == b"\x08\x01", "SERVING"


def a_caller_that_leaves_takes_its_job_along(through: Through) -> None:
    with through.stub() as stub:
        for method in ("StreamEdit", "RunEdit"):
            asked = silent(600)
            if method == "RunEdit":
                call = stub.RunEdit.future(asked, timeout=PATIENCE)
            else:
                call = stub.StreamEdit(asked, timeout=PATIENCE)
                next(call)
            # The job is found by its id, which is the caller's own.
            named = find(stub, asked.request_id)
            call.cancel()
            job = ended(stub, named)
            assert (job.state, job.error.reason) == (pb.EditJob.STATE_CANCELLED, "CLIENT_GONE"), (method, job.error)


def find(stub: EditServiceStub, request_id: str) -> str:
    """The job name of a request."""
    for _ in range(300):
        jobs = stub.ListEditJobs(pb.ListEditJobsRequest(page_size=100), timeout=30).jobs
        found = [it.name for it in jobs if it.request_id == request_id]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("the job was never made")


def deadlines_reach_the_server(through: Through) -> None:
    with through.stub() as stub:
        asked = silent(600)
        try:
            list(stub.StreamEdit(asked, timeout=6))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        job = ended(stub, find(stub, asked.request_id))
        assert job.error.reason in ("CLIENT_DEADLINE", "CLIENT_GONE"), job.error


# --- pages


def framed(message: bytes) -> bytes:
    """A message in gRPC-Web framing."""
    return b"\0" + struct.pack(">I", len(message)) + message


def pages_speak_grpc_web(through: Through) -> None:
    """gRPC-Web over HTTP/1.1: a unary response with trailers, and an unbuffered stream."""
    trusting = ssl.create_default_context(cadata=through.roots.decode())

    def call(method: str, message: bytes) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("localhost", through.port, context=trusting, timeout=PATIENCE)
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        connection.request("POST", f"/{SERVICE}/{method}", framed(message), headers)
        return connection.getresponse()

    answer = call("GetServerInfo", b"")
    body = answer.read()
    assert answer.status == 200 and b"demo-model" in body and b"grpc-status:0" in body.replace(b" ", b""), (answer.status, body)
    asked = silent(20)
    started = time.monotonic()
    stream = call("StreamEdit", asked.SerializeToString())
    first, began = stream.read(1), time.monotonic() - started
    rest = stream.read()
    assert first == b"\0" and b"grpc-status:0" in rest.replace(b" ", b""), rest[-200:]
    assert time.monotonic() - started - began > 10, "the first event came with the last"


CALLS = [
    *SILENT,
    events_come_as_they_happen_and_masks_are_decided,
    cancel_on_the_stream,
    bodies_of_33_mb_come_and_go,
    what_is_too_large_is_refused_by_the_server,
    uploads_stream,
    refusals_keep_their_details,
    health_is_asked_through_it,
    a_caller_that_leaves_takes_its_job_along,
    deadlines_reach_the_server,
    pages_speak_grpc_web,
]


# --- restarts


def restart(server, ways: dict[str, Through]) -> list[str]:
    """Restarts the server during an edit through each proxy; returns the failures by proxy."""
    faults, asked = [], {name: silent(600) for name in ways}
    for request in asked.values():
        # They come back one after the other.
        request.disconnect_grace.seconds = 60
    ends: dict[str, grpc.StatusCode | None] = {}

    def watch(name: str) -> None:
        with ways[name].stub() as stub:
            try:
                for event in stub.StreamEdit(asked[name], timeout=PATIENCE):
                    if event.WhichOneof("event") == "mask_proposed":
                        waiting.release()
                ends[name] = None
            except grpc.RpcError as error:
                ends[name] = error.code()

    waiting = threading.Semaphore(0)
    threads = [threading.Thread(target=watch, args=[name]) for name in ways]
    for thread in threads:
        thread.start()
    for _ in ways:
        if not waiting.acquire(timeout=PATIENCE):
            faults.append("restart: an edit never came to its mask")
    server.stop()
    for thread in threads:
        thread.join()
    for name in ways:
        if (code := ends.get(name)) != grpc.StatusCode.UNAVAILABLE:
            faults.append(f"{name}: the stream ended with {code}")
    for name, through in ways.items():
        try:
            with through.stub() as stub:
                stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=30)
            faults.append(f"{name}: it answers without a server")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                faults.append(f"{name}: without a server {error.code()}")
    server.start()
    for name, through in ways.items():
        try:
            back(through, asked[name])
        except Exception as error:  # noqa: BLE001: told with the others
            faults.append(f"{name}: after the restart {type(error).__name__}: {error}")
    return faults


def back(through: Through, asked: pb.CreateEditJobRequest) -> None:
    """The repeated request through the same proxy finds the job and its result."""
    with through.stub() as stub:
        for _ in range(100):
            try:
                stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=30)
                break
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                time.sleep(0.2)
        kinds = []
        for event in stub.StreamEdit(asked, timeout=PATIENCE):
            kinds.append(event.WhichOneof("event"))
            if kinds[-1] == "mask_proposed":
                decision = pb.MaskDecision(accept=pb.AcceptMask())
                stub.SubmitMask(pb.SubmitMaskRequest(name=event.job, decision=decision), timeout=30)
        assert kinds.count("result") == 1, kinds
