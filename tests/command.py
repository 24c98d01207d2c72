"""What all tests of the command line share."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from hybrid_dip.cli import app
from tests.copies import COPIES
from tests.waiting import HANG

Command = Callable[..., tuple[int, str, str]]

# A network small enough for a test, by the same options that a user has.
SMALL = ["--preset", "quick", "--network", "skip:down=8,8,skip=4,4,upsample=bilinear", "--latent", "uniform:channels=8"]


def run_here(*arguments: str | Path) -> tuple[int, str]:
    """The command line in this process: its exit status and stderr."""
    sys.argv = ["hybrid-dip", *map(str, arguments)]
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            app.main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    raise AssertionError("the command line did not end")


class Started:
    """The command line in a process of its own, for tests that end it.

    Args:
        said: The file that its stderr goes to.
        arguments: As on the command line.
    """

    def __init__(self, said: Path, *arguments: str | Path):
        self._process = COPIES.Process(target=_run, args=(said, list(map(str, arguments))))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit status, or None while it is running."""
        return self._process.exitcode

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        self._process.join(HANG)
        status = self.poll()
        assert status is not None, "it hangs"
        return status

    def end(self, by: signal.Signals) -> int:
        """Its exit status after a signal."""
        os.kill(self.pid, by)
        return self.wait()


def _run(said: Path, arguments: list[str]) -> None:
    with said.open("w") as errors, Path(os.devnull).open("w") as nothing:
        os.dup2(errors.fileno(), sys.stderr.fileno())
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    # A thread that meets no interrupts may have been the first to ask for a copy, and all copies inherit that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.argv = ["hybrid-dip", *arguments]
    app.main()
