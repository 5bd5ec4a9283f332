"""When a call is tried again (docs/client.md): exponential backoff, or the time that the server names; both bounded."""

from __future__ import annotations

import random
import time

from retouch_client.errors import Refused

FIRST = 0.1
"""First wait in seconds; each is twice the one before, with a random part so that clients don't return together."""
LONGEST = 5.0
TRIES = 8
LONGEST_TOLD = 60.0
"""Longest wait in seconds that is accepted from a server."""
TRIES_TOLD = 30
"""Most tries at a server's word: a queue that stays full for half an hour is an error."""


class Deadline:
    """The moment at which a call has to be over, if there is one."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds until then, at least none."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


class Retry:
    """The tries of one call."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.reset()

    def reset(self) -> None:
        """Starts anew, after something was achieved."""
        self._tries = self._told = 0

    def pause(self, refusal: Refused) -> float:
        """Seconds to wait before the next try; raises the refusal where none can help, or come in time."""
        wait = self._wait(refusal)
        left = self.deadline.left()
        if wait is None or (left is not None and wait >= left):
            raise refusal
        return wait

    def _wait(self, refusal: Refused) -> float | None:
        if not refusal.is_transient:
            return None
        if refusal.retry_after is not None:
            self._told += 1
            return min(refusal.retry_after, LONGEST_TOLD) if self._told <= TRIES_TOLD else None
        self._tries += 1
        wait = min(FIRST * 2.0 ** (self._tries - 1), LONGEST)
        return wait * (1 + random.random()) if self._tries <= TRIES else None
