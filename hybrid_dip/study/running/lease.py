"""Who works on what: a file that its holder touches every few seconds, so that the death of the holder shows.

Works on file systems that several machines share. Leases of one folder are numbered; creating the next number, which only one
can do, is how a lease is taken over from a holder that has fallen silent, and how that holder, should it wake up, finds out.
A lease saves work, it does not protect results: those are published by a rename, which happens once.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

PREFIX = "lease."
BEAT = 2.0
"""Seconds between two signs of life."""

SILENCE = 60.0
"""Seconds without one after which a holder on another machine counts as dead; one on this machine is looked up."""

STILLNESS = 600.0
"""Seconds without one after which a process of this machine that is still there, but stands still, counts as dead, too."""

CLOCK_STEP = 30.0
"""Seconds that the start of a process may seem to move when a machine's clock is set."""

_GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)

_LONGEST = 120
"""Characters of what a lease says in words."""

_SIZE = 1024
"""Bytes of a lease; it is overwritten in place, so that a sign of life needs no new space on a full disk."""


@dataclass(frozen=True)
class Holder:
    """What a lease says about who holds it.

    Attributes:
        host: Name of the machine, with its process namespace.
        pid: Process.
        started: When the process began, because numbers of processes are used again.
        about: What it works on and how far it is.
        age: Seconds since its last sign of life, by the file system's own clock.
    """

    host: str
    pid: int
    started: float
    about: Mapping[str, Any]
    age: float

    @property
    def alive(self) -> bool:
        """False where the holder is known to be gone."""
        if self.host != _host():
            return self.age < SILENCE
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < CLOCK_STEP
            return same and process.status() not in _GONE and self.age < STILLNESS
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's, on systems that keep them apart
            return self.age < SILENCE


class Lease:
    """A lease that this process holds; made by :func:`acquire`.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._number = int(path.name.removeprefix(PREFIX))

    def beat(self, about: Mapping[str, Any]) -> bool:
        """Give a sign of life.

        Args:
            about: What is worked on and how far it is, small and plain.

        Returns:
            False where somebody has taken the lease over, or removed it.

        Raises:
            OSError: It cannot be written.
        """
        if _highest(self.path.parent) != self._number:
            return False
        try:
            handle = os.open(self.path, os.O_WRONLY)
        except FileNotFoundError:
            return False
        try:
            os.write(handle, _text(about))
        finally:
            os.close(handle)
        return True

    @contextmanager
    def beating(self, about: Callable[[], Mapping[str, Any]]) -> Iterator[Callable[[], bool]]:
        """Give signs of life in the background.

        Args:
            about: What to say each time.

        Yields:
            A question "is the lease lost?".
        """
        over, lost = threading.Event(), threading.Event()

        def live() -> None:
            while not over.wait(BEAT):
                # What hinders this write, such as a full disk, hinders the result's, too, and is reported there.
                with contextlib.suppress(OSError):
                    if not self.beat(about()):
                        lost.set()

        heart = threading.Thread(target=live, daemon=True, name="heartbeat")
        heart.start()
        try:
            yield lost.is_set
        finally:
            over.set()
            heart.join()

    def release(self) -> None:
        """Give the lease back, and remove those that were left behind by dead holders."""
        for path in _leases(self.path.parent):
            if int(path.name.removeprefix(PREFIX)) <= self._number:
                path.unlink(missing_ok=True)


def acquire(folder: Path, about: Mapping[str, Any]) -> Lease | None:
    """Try to become the one that works in a folder.

    Args:
        folder: Made where it is missing.
        about: What is to be done.

    Returns:
        The lease, or None where somebody alive holds it.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder)
    if alive(folder):
        return None
    path = folder / f"{PREFIX}{number + 1}"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except (FileExistsError, FileNotFoundError):  # somebody was faster, to take it or to finish and remove the folder
        return None
    try:
        os.write(handle, _text(about))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    if _highest(folder) != number + 1:
        path.unlink(missing_ok=True)
        return None
    return Lease(path)


def holder(folder: Path) -> Holder | None:
    """Who works in a folder.

    Args:
        folder: Of a run.

    Returns:
        What the highest lease says, or None where there is none.
    """
    number = _highest(folder)
    try:
        # Opening a file makes network file systems ask the server for its true age.
        with (folder / f"{PREFIX}{number}").open("rb") as handle:
            content = handle.read()
            touched = os.fstat(handle.fileno()).st_mtime
        said = json.loads(content)
    except FileNotFoundError:
        return None
    except ValueError:  # just being made
        said = {}
    age = _clock(folder.parent) - touched
    return Holder(said.get("host", "?"), said.get("pid", 0), said.get("started", 0.0), said.get("about", {}), age)


def alive(folder: Path) -> bool:
    """True where somebody alive works in a folder."""
    found = holder(folder)
    return found is not None and found.alive


def _leases(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]


def _highest(folder: Path) -> int:
    return max((int(path.name.removeprefix(PREFIX)) for path in _leases(folder)), default=0)


def _clock(folder: Path) -> float:
    """The file system's own time: the clocks of two machines may differ. Where nothing can be written, this machine's."""
    probe = folder / f".clock.{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


@cache
def _host() -> str:
    """Copies of one machine share its name, and so do containers, which do not see each other's processes."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux: the name has to do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _text(about: Mapping[str, Any]) -> bytes:
    process = psutil.Process()
    brief = {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in about.items()}
    said = {"host": _host(), "pid": process.pid, "started": process.create_time(), "about": brief}
    return json.dumps(said, ensure_ascii=False).encode().ljust(_SIZE)
