"""The methods of the service, and what a connection to it is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message

from retouch_client import edit_pb2 as pb
from retouch_client.errors import InputError

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)
File: TypeAlias = str | Path | bytes
"""A file's path, or its bytes."""


@dataclass(frozen=True)
class Method(Generic[Request, Answer]):
    """A method of the service: its name, and what it takes and answers."""

    name: str
    request: type[Request]
    answer: type[Answer]

    @property
    def path(self) -> str:
        return f"/retouch.v1.EditService/{self.name}"

    @property
    def pack(self) -> Callable[[Request], bytes]:
        return self.request.SerializeToString

    @property
    def unpack(self) -> Callable[[bytes], Answer]:
        return self.answer.FromString


STREAM = Method("StreamEdit", pb.CreateEditJobRequest, pb.EditEvent)
WATCH = Method("WatchEditJob", pb.WatchEditJobRequest, pb.EditEvent)
CREATE = Method("CreateEditJob", pb.CreateEditJobRequest, pb.EditJob)
GET = Method("GetEditJob", pb.GetEditJobRequest, pb.EditJob)
LIST = Method("ListEditJobs", pb.ListEditJobsRequest, pb.ListEditJobsResponse)
DECIDE = Method("SubmitMask", pb.SubmitMaskRequest, pb.EditJob)
CANCEL = Method("CancelEditJob", pb.CancelEditJobRequest, pb.EditJob)
DELETE = Method("DeleteEditJob", pb.DeleteEditJobRequest, pb.DeleteEditJobResponse)
UPLOAD = Method("UploadArtifact", pb.UploadArtifactRequest, pb.Artifact)
DOWNLOAD = Method("DownloadArtifact", pb.DownloadArtifactRequest, pb.ArtifactChunk)
DELETE_ARTIFACT = Method("DeleteArtifact", pb.DeleteArtifactRequest, pb.DeleteArtifactResponse)
INFO = Method("GetServerInfo", pb.GetServerInfoRequest, pb.ServerInfo)

# In grpc's own names. A server that is away is asked again every second; one that has vanished is noticed.
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.primary_user_agent", f"retouch-client/{version('retouch-client')}"),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # What a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
]


@dataclass(frozen=True)
class Server:
    """Where a server is, and the credentials of its caller, checked but not used yet."""

    url: str
    target: str
    credentials: grpc.ChannelCredentials | None
    """For TLS."""
    metadata: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def of(
        cls, url: str, api_key: str | None, ca: File | None, client_cert: File | None, client_key: File | None
    ) -> Server:
        secure, target = _target(url)
        if not secure and (ca, client_cert, client_key) != (None, None, None):
            raise InputError(f"{url}: certificates are for https:// addresses")
        if (client_cert is None) != (client_key is None):
            raise InputError("client_cert and client_key go together")
        pems = [None if it is None else _bytes(it) for it in (ca, client_key, client_cert)]
        credentials = grpc.ssl_channel_credentials(*pems) if secure else None
        metadata: tuple[tuple[str, str], ...] = ()
        if api_key is not None:
            key = api_key.strip()
            if not key.isascii() or not key.isprintable():
                raise InputError("the API key contains characters that are not allowed in a key")
            metadata = (("authorization", f"Bearer {key}"),)
        return cls(url, target, credentials, metadata)


def _bytes(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _target(url: str) -> tuple[bool, str]:
    """Whether a URL is for TLS, and grpc's name of the server; errors don't repeat it, since it may hold secrets."""
    form = "give http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(f"the server's URL can't be read; {form}") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(f"the server's URL must start with http:// or https://; {form}")
    if "@" in parts.netloc:
        raise InputError(f"the server's URL contains a user name or password, which gRPC does not support; {form}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise InputError(f"the server's URL contains a path or query, which gRPC does not support; {form}")
    if not parts.hostname:
        raise InputError(f"the server's URL has no host; {form}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    secure = parts.scheme == "https"
    return secure, f"dns:///{host}:{port or (443 if secure else 80)}"
