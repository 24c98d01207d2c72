"""Waiting for an event, with a bound that only a hang reaches: a busy machine may take minutes for what takes a second."""

import subprocess
import time
from collections.abc import Callable

HANG = 600.0
"""Seconds."""


def wait_for(event: Callable[[], bool], process: "subprocess.Popen[str] | subprocess.Popen[bytes] | None" = None) -> None:
    """Return as soon as something has happened.

    Args:
        event: Whether it has.
        process: What is to bring it about; that it ends before is a failure.

    Raises:
        AssertionError: The process ended, or nothing happened for :data:`HANG` seconds.
    """
    end = time.monotonic() + HANG
    while not event():
        assert process is None or process.poll() is None, "the process has ended before"
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
