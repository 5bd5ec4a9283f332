"""A job's events to their end: which call brings the next ones, after a connection broke as well."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from retouch_client import edit_pb2 as pb
from retouch_client._retry import Deadline, Retry
from retouch_client._wire import STREAM, WATCH, Method

ENDED = (pb.EditJob.STATE_SUCCEEDED, pb.EditJob.STATE_FAILED, pb.EditJob.STATE_CANCELLED)
"""The states in which a job stays."""


class Follow:
    """A job that is followed: asked for by `start`, or known by its name."""

    def __init__(
        self,
        deadline: Deadline,
        *,
        start: pb.CreateEditJobRequest | None = None,
        job: str = "",
        after: int = 0,
        events: pb.EventOptions | None = None,
    ) -> None:
        self.job, self.is_over = job, False
        self.retry = Retry(deadline)
        self._start, self._sequence, self._events = start, after, events

    def call(self) -> tuple[Method[Any, pb.EditEvent], Message]:
        """The call that brings the next event."""
        if self._start is not None and not self.job:
            return STREAM, self._start
        return WATCH, pb.WatchEditJobRequest(name=self.job, after_sequence=self._sequence, events=self._events)

    def take(self, event: pb.EditEvent) -> None:
        """Notes an event that has come."""
        self.job = self.job or event.job
        if event.sequence > self._sequence or event.HasField("step"):
            self.retry.reset()
        self._sequence = max(self._sequence, event.sequence)
        self.is_over = event.HasField("state") and event.state.state in ENDED
