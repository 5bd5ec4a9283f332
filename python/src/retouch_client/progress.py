"""A progress bar of an edit's steps."""

from __future__ import annotations

from typing import Any

from retouch_client import edit_pb2 as pb


def pass_of(event: pb.StepProgress | pb.Preview) -> str:
    """The pass of a step or preview, `localize` or `edit`: `pass` is a word of Python's own."""
    number: pb.Pass.ValueType = getattr(event, "pass")
    return pb.Pass.Name(number).removeprefix("PASS_").lower()


class Bar:
    """Shows events as a bar of tqdm's, in a terminal or a notebook."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("progress=True needs tqdm: pip install 'retouch-client[progress]'") from error
        self._bar: Any = tqdm(unit="step", leave=False)
        self._pass = ""

    def show(self, event: pb.EditEvent) -> None:
        """Shows what an event says."""
        if event.HasField("queue"):
            self._bar.set_description(f"place {event.queue.position} in the queue")
        elif event.HasField("state") and event.state.state == pb.EditJob.STATE_AWAITING_MASK:
            self._bar.set_description("the mask is awaited")
        elif event.HasField("step"):
            step = event.step
            if pass_of(step) != self._pass:
                self._pass = pass_of(step)
                self._bar.reset(step.total)
                self._bar.set_description(self._pass)
            # Steps may be left out where the connection is slow.
            self._bar.update(step.step - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()
