"""Waiting for an event, with a bound that only a hang reaches: a busy machine may take minutes for what takes a second."""

import time
from collections.abc import Callable
from typing import Any, Protocol

HANG = 600.0
"""Seconds."""


class Process(Protocol):
    """What can end."""

    def poll(self) -> int | None:
        """Its exit status, or None while it is running."""


def wait_for(event: Callable[[], Any], process: Process | None = None) -> Any:
    """Return what an event gives as soon as it gives something.

    Args:
        event: Asked again and again.
        process: What is to bring it about; that it ends before is a failure.

    Raises:
        AssertionError: The process ended, or nothing happened for :data:`HANG` seconds.
    """
    end = time.monotonic() + HANG
    while not (found := event()):
        assert process is None or process.poll() is None, "the process has ended before"
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return found
