"""How far a run is: a small file beside its lock, for the board and for ``study status``; and when to stop."""

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

LOOK = 0.5
"""Seconds between two looks whether to stop, and between two notes how far a run is."""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        run: Its label.
        step: Steps taken.
        steps: Steps of all its fits.
        since: When it began, in seconds since 1970.
        host: Name of the machine that works on it.
        pid: Number of the process that works on it.
    """

    run: str
    step: int = 0
    steps: int = 0
    since: float = field(default_factory=time.time)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def worker(self) -> str:
        """Who works on it: machine and process."""
        return f"{self.host}:{self.pid}"

    def write(self, path: Path) -> None:
        """Write it down.

        What hinders this, such as a full disk, hinders writing the result as well, and is reported there.

        Args:
            path: The file.
        """
        with contextlib.suppress(OSError):
            temporary = path.with_suffix(".new")  # replaced in one move, so that no one reads half of it
            temporary.write_text(json.dumps(asdict(self)))
            temporary.replace(path)


def read_progress(path: Path) -> Progress | None:
    """What :meth:`Progress.write` wrote.

    Args:
        path: The file.

    Returns:
        The progress, or None where the file is missing or damaged.
    """
    try:
        return Progress(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Watch:
    """Asked at each step of a run whether to stop; it looks now and then, and writes down how far the run is.

    Args:
        progress: Changed by the run as it goes on.
        path: File that it is written to.
        runner: File of the one who asked for the run, and who wants it stopped when the file is gone; or None.
    """

    def __init__(self, progress: Progress, path: Path, runner: Path | None):
        self.progress = progress
        self._path = path
        self._runner = runner
        self._looked = time.monotonic()
        progress.write(path)

    def __call__(self) -> bool:
        """Whether to save the state and stop."""
        if time.monotonic() - self._looked < LOOK:
            return False
        self._looked = time.monotonic()
        self.progress.write(self._path)
        return self._runner is not None and not self._runner.exists()
