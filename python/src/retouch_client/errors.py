"""Why a call or a job failed: typed errors with the server's reason, and what to do about it."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from retouch_client import edit_pb2 as pb

__all__ = ["AnswerUnusable", "InputError", "JobFailed", "Refused", "RetouchError", "Unreachable", "remedy"]

REMEDIES = {
    "INVALID_ARGUMENT": "correct the fields that it names",
    "INVALID_MESSAGE": "use a client of the server's version, and look for a proxy that changes messages",
    "BAD_IMAGE": "give a whole PNG, JPEG or WebP file",
    "IMAGE_TOO_LARGE": "make the picture smaller; info() has the limits",
    "BAD_MASK": "give a mask of the picture's proportions, white on black",
    "EMPTY_MASK": "paint white where the picture may change",
    "OBJECT_NOT_FOUND": "name the object in the instruction, give object=…, or leave strict out",
    "LOW_CONFIDENCE": "give a mask, name another object, or lower min_confidence",
    "MESSAGE_TOO_LARGE": "make the picture smaller; info() has the limits",
    "JOB_NOT_FOUND": "check the job's name and the key: it may have expired or be another tenant's",
    "ARTIFACT_NOT_FOUND": "check the artifact's name and the key: it may have expired or be another tenant's",
    "REQUEST_ID_REUSED": "use a new request_id for another edit",
    "MASK_NOT_PROPOSED": "wait for the mask before choosing clusters",
    "MASK_ALREADY_DECIDED": "read the job again: its mask is decided",
    "JOB_TERMINAL": "read the job again: it has ended",
    "JOB_LIVE": "cancel the job first, or wait for its end",
    "ARTIFACT_PINNED": "delete the jobs that use it first",
    "MODEL_UNUSABLE": "tell the server's owner: its model can't be used",
    "MASK_ETAG_MISMATCH": "read the job again: the proposed mask is another one",
    "QUEUE_FULL": "try again later",
    "TENANT_QUOTA": "wait until jobs of yours have ended",
    "RATE_LIMITED": "call less often",
    "BODY_BUDGET": "send fewer pictures at once",
    "OUT_OF_MEMORY": "try again later, or with a smaller size (resize=…)",
    "DISK_FULL": "tell the server's owner: its disk or quota is full",
    "METADATA_TOO_LARGE": "send less metadata",
    "MODEL_LOADING": "try again when the model is loaded",
    "DRAINING": "try again when the server is back, with the same request_id",
    "WORKER_LOST": "try again with the same request_id",
    "ENGINE_DOWN": "try again with the same request_id",
    "QUEUE_TIMEOUT": "try again when the server is less busy",
    "RUN_TIMEOUT": "ask for fewer steps or a smaller size",
    "REVIEW_TIMEOUT": "decide the mask in time, or give a longer review_timeout",
    "CLIENT_DEADLINE": "give a longer timeout",
    "BODY_STALLED": "check the connection",
    "CLIENT_GONE": "stay connected, or use submit() and watch()",
    "CANCELLED_BY_API": "somebody cancelled it; ask again if it is still wanted",
    "ARTIFACT_LOST": "the server lost the file: upload it or edit again",
    "INTERNAL": "try again; the server's log says more",
    "NO_SUCH_METHOD": "use a newer server, or check that the address is retouch's",
    "ENCODING": "send it uncompressed",
    "BAD_KEY": "check api_key",
    "SCOPE": "use a key with the scope that the call needs",
    # The client's own.
    "SERVER_UNREACHABLE": "check the address, and that the server runs",
    "CONNECTION_FAILED": "check the connection and the proxies in between, and try again",
    "ANSWER_UNUSABLE": "try again; where it stays, tell the server's owner",
    "INPUT_UNUSABLE": "correct the argument",
}
"""What to do, by reason; docs/service.md lists the reasons of a server."""


def remedy(reason: str) -> str:
    """What to do about a reason; empty for one that this version does not know."""
    return REMEDIES.get(reason, "")


class RetouchError(Exception):
    """Any error of this package."""

    reason: str
    """Upper snake case, the server's where it gave one: what programs decide by."""
    message: str
    """For people."""
    ends_a_batch = False
    """Whether no other edit would fare better: no server, or no valid key."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message

    @property
    def remedy(self) -> str:
        """What to do about it; empty where this version does not know."""
        return remedy(self.reason)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


class InputError(RetouchError, ValueError):
    """An argument can't be sent: told before anything is."""

    def __init__(self, message: str) -> None:
        super().__init__("INPUT_UNUSABLE", message)


class Unreachable(RetouchError):
    """There is no server at the address."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__("SERVER_UNREACHABLE", f"{url} can't be reached: {cause}")
        self.url = url
        self.ends_a_batch = True


class AnswerUnusable(RetouchError):
    """The server's answer is not what its schema says."""

    def __init__(self, message: str) -> None:
        super().__init__("ANSWER_UNUSABLE", message)


class _Told(RetouchError):
    """An error with a gRPC status."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, retry_after: float | None) -> None:
        super().__init__(reason, message)
        self.code, self.retry_after = code, retry_after

    def __str__(self) -> str:
        after = "" if self.retry_after is None else f", try again in {math.ceil(self.retry_after)} s"
        return super().__str__() + after


class Refused(_Told):
    """The server refused a call, or the connection broke and trying again did not help."""

    code: grpc.StatusCode
    fields: tuple[str, ...]
    """Fields of the request that are wrong, such as `spec.steps`."""
    retry_after: float | None
    """Seconds after which another try may succeed."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        fields: tuple[str, ...] = (),
        retry_after: float | None = None,
        is_final: bool = False,
    ) -> None:
        self.fields, self.is_final = fields, is_final
        self.has_reason = bool(reason)
        self.ends_a_batch = code in _CLOSED
        super().__init__(code, reason or "CONNECTION_FAILED", message, retry_after)

    @classmethod
    def of(cls, error: grpc.RpcError) -> Refused:
        """What a failed call says."""
        # Both kinds of channels raise errors that are calls, too.
        call = cast(Any, error)
        metadata = {key: value for key, value in call.trailing_metadata() or ()}
        reason, retry_after = "", None
        fields: tuple[str, ...] = ()
        for detail in _details(metadata.get("grpc-status-details-bin", b"")):
            if isinstance(detail, ErrorInfo):
                reason = detail.reason
            elif isinstance(detail, BadRequest):
                fields = tuple(it.field for it in detail.field_violations)
            elif detail.HasField("retry_delay"):
                retry_after = detail.retry_delay.ToTimedelta().total_seconds()
        pushback = _number(metadata.get("grpc-retry-pushback-ms"))
        if pushback is not None and pushback >= 0:
            retry_after = pushback / 1000
        is_final = pushback is not None and pushback < 0
        message = (call.details() or "").replace("\n", " ")
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
            # The call's own deadline, which has no details wherever it was noticed.
            reason = "CLIENT_DEADLINE"
        return cls(call.code(), reason, message, fields=fields, retry_after=retry_after, is_final=is_final)

    @property
    def is_transient(self) -> bool:
        """Whether another try may succeed: `UNAVAILABLE`, `RESOURCE_EXHAUSTED` with a time, a connection that broke."""
        if self.is_final:
            return False
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED and self.has_reason:
            return self.retry_after is not None
        return self.code is grpc.StatusCode.UNAVAILABLE or (not self.has_reason and self.code in _BROKEN)

    def __str__(self) -> str:
        unsaid = [it for it in self.fields if it not in self.message]
        return super().__str__() + (f" (field {', '.join(unsaid)})" if unsaid else "")


class JobFailed(_Told):
    """A job failed or was cancelled; `job` says how far it came."""

    code: grpc.StatusCode
    retry_after: float | None
    job: pb.EditJob

    def __init__(self, job: pb.EditJob) -> None:
        error = job.error
        code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
        told = error.retry_delay.ToTimedelta().total_seconds() if error.HasField("retry_delay") else None
        state = pb.EditJob.State.Name(job.state).removeprefix("STATE_").lower()
        super().__init__(code, error.reason or "INTERNAL", error.message or f"{job.name} is {state}", told)
        self.job = job


def broken(message: str) -> Refused:
    """The error of a stream that ended before its time."""
    return Refused(grpc.StatusCode.UNAVAILABLE, "", message)


_CODES: dict[int, grpc.StatusCode] = {it.value[0]: it for it in grpc.StatusCode}

# Codes of connections that broke, aged or were reset, where the server gave no reason.
_BROKEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

# Codes under which a server takes nobody's calls, or none with these credentials.
_CLOSED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}

_Detail: TypeAlias = ErrorInfo | BadRequest | RetryInfo


def _details(packed: str | bytes) -> list[_Detail]:
    """The details of a status that are read here; none where they can't be."""
    status = Status()
    try:
        status.ParseFromString(packed if isinstance(packed, bytes) else packed.encode())
    except DecodeError:
        return []
    found: list[_Detail] = []
    for packed_detail in status.details:
        for kind in (ErrorInfo, BadRequest, RetryInfo):
            detail = kind()
            if packed_detail.Unpack(detail):
                found.append(detail)
    return found


def _number(text: str | bytes | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
