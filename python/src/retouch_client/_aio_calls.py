"""Calls for asyncio with retries on broken connections and busy servers, and files in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import grpc

from retouch_client import _wire as wire
from retouch_client import edit_pb2 as pb
from retouch_client._files import checked, pieces
from retouch_client._follow import Follow
from retouch_client._retry import Deadline, Retry
from retouch_client.errors import Refused, Unreachable, broken


class AioCalls:
    """A connection, which is made by the first call."""

    def __init__(self, server: wire.Server) -> None:
        self.server = server
        self._opened: grpc.aio.Channel | None = None
        # Whether the server has ever answered.
        self._met = False

    @property
    def _channel(self) -> grpc.aio.Channel:
        """The connection, which belongs to the loop that makes it."""
        if self._opened is None:
            target, credentials = self.server.target, self.server.credentials
            self._opened = (
                grpc.aio.insecure_channel(target, wire.OPTIONS)
                if credentials is None
                else grpc.aio.secure_channel(target, credentials, wire.OPTIONS)
            )
        return self._opened

    async def close(self) -> None:
        """Ends the connection, and every call on it."""
        if self._opened is not None:
            await self._opened.close()

    async def call(
        self, method: wire.Method[wire.Request, wire.Answer], request: wire.Request, deadline: Deadline
    ) -> wire.Answer:
        """A unary call, tried again until it succeeds or that can't help."""
        retry = Retry(deadline)
        while True:
            try:
                ask = self._channel.unary_unary(method.path, method.pack, method.unpack)
                answer = await ask(request, timeout=deadline.left(), metadata=self.server.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(self._pause(error, retry))
            else:
                self._met = True
                return answer

    def _pause(self, error: grpc.RpcError, retry: Retry) -> float:
        """Seconds to wait before the next try; raises where none can help."""
        refusal = Refused.of(error)
        if refusal.code is grpc.StatusCode.UNAVAILABLE and not refusal.has_reason and not self._met:
            raise Unreachable(self.server.url, refusal.message) from error
        self._met = True
        return retry.pause(refusal)

    async def events(self, follow: Follow) -> AsyncGenerator[pb.EditEvent, None]:
        """A job's events to their end."""
        while not follow.is_over:
            method, request = follow.call()
            stream = self._channel.unary_stream(method.path, method.pack, method.unpack)
            call = stream(request, timeout=follow.retry.deadline.left(), metadata=self.server.metadata)
            try:
                async for event in call:
                    self._met = True
                    follow.take(event)
                    yield event
                    if follow.is_over:
                        return
                pause = follow.retry.pause(broken("the events ended before the job did"))
            except grpc.RpcError as error:
                pause = self._pause(error, follow.retry)
            finally:
                call.cancel()
            await asyncio.sleep(pause)

    async def place(self, images: list[pb.Image], deadline: Deadline) -> None:
        """Uploads pictures that are too large for a request, and names them there."""
        for image in images:
            image.artifact = (await self.upload(image.data, deadline)).name

    async def upload(self, file: bytes, deadline: Deadline) -> pb.Artifact:
        """Uploads a file in pieces."""
        retry = Retry(deadline)
        while True:
            try:
                upload = self._channel.stream_unary(wire.UPLOAD.path, wire.UPLOAD.pack, wire.UPLOAD.unpack)
                artifact = await upload(pieces(file), timeout=deadline.left(), metadata=self.server.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(self._pause(error, retry))
            else:
                self._met = True
                return artifact

    async def bytes_of(self, artifact: pb.Artifact, deadline: Deadline) -> bytes:
        """An artifact's bytes: those that came with it, else downloaded, resumed where a connection breaks."""
        if artifact.inline:
            return artifact.inline
        retry, file = Retry(deadline), bytearray()
        while len(file) < artifact.size_bytes:
            request = pb.DownloadArtifactRequest(name=artifact.name, offset=len(file))
            download = self._channel.unary_stream(wire.DOWNLOAD.path, wire.DOWNLOAD.pack, wire.DOWNLOAD.unpack)
            try:
                async for chunk in download(request, timeout=deadline.left(), metadata=self.server.metadata):
                    self._met = True
                    file += chunk.data
            except grpc.RpcError as error:
                await asyncio.sleep(self._pause(error, retry))
            else:
                if len(file) < artifact.size_bytes:
                    await asyncio.sleep(retry.pause(broken("the download ended early")))
        return checked(artifact, bytes(file))
