"""Who works on what, on one machine: a lock that the operating system frees when its holder ends, however it ends.

A lock saves work, it does not protect results: those are published by a rename, which happens once. Several machines need no
locks between them, because one runner hands out each run once, through Ray.
"""

import secrets
import socket
from pathlib import Path

from filelock import FileLock, Timeout

RUNNER = ".runner."
"""What the name of a runner's file begins with; the name of its machine follows."""


def take(path: Path) -> FileLock | None:
    """Take a lock, if it is free.

    Args:
        path: Its file; the folder is made where it is missing.

    Returns:
        The lock, to be released; or None where another holds it.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):  # held, or its holder has just finished and removed the folder
        return None
    if not path.exists():  # removed between opening and locking: the next file of this name is another lock
        lock.release()
        return None
    return lock


def held(path: Path) -> bool:
    """Whether a lock is held.

    Args:
        path: Its file.

    Returns:
        True also where it may not be tried, because the folder is read-only or another user's.
    """
    if not path.is_file():
        return False
    try:
        with FileLock(path, thread_local=False).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


def enlist(folder: Path) -> FileLock:
    """Lock a new file that stands for a runner: its workers go on until it is removed.

    A file can be removed even where the disk is full.

    Args:
        folder: Where the files of runners are.

    Returns:
        The lock, whose ``lock_file`` is the path.

    Raises:
        OSError: The folder cannot be written.
    """
    while True:
        runner = take(folder / f"{RUNNER}{secrets.token_hex(4)}.{socket.gethostname()}")
        if runner is not None:
            return runner


def remove_dead_runners(folder: Path) -> None:
    """Remove the files of runners of this machine that were killed.

    Those of other machines stay: not every file system tells one machine what another has locked.

    Args:
        folder: Where the files of runners are.
    """
    for path in folder.glob(f"{RUNNER}*"):
        if _machine(path) == socket.gethostname() and not held(path):
            path.unlink(missing_ok=True)


def other_machines(folder: Path) -> set[str]:
    """Names of other machines that are seen to work in a folder.

    Args:
        folder: Where the files of runners are.

    Returns:
        Host names, without this machine's.
    """
    return {_machine(path) for path in folder.glob(f"{RUNNER}*") if held(path)} - {socket.gethostname()}


def _machine(path: Path) -> str:
    return path.name.removeprefix(RUNNER).partition(".")[2]
