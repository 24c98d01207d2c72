"""Memory that one step frees and the next one takes again, kept in between.

A step allocates and frees the same large tensors as the step before it. The C library of Linux (glibc) gives blocks of that
size back to the system at once, which then has to clear and map every page anew.
"""

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # the parameters of mallopt(3)
_MIB = 2**20
_threads_inside = 0
_COUNTING = threading.Lock()
_scarce: ContextVar[bool] = ContextVar("scarce", default=False)


@contextmanager
def scarce_memory() -> Iterator[None]:
    """Inside, no freed memory is kept: what lies idle between two uses may be a quarter of all.

    Yields:
        Nothing.
    """
    before = _scarce.set(True)
    try:
        yield
    finally:
        _scarce.reset(before)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside, freed memory stays with this process; when the last thread leaves, it goes back to the system.

    This does nothing within :func:`scarce_memory`, nor elsewhere than on Linux with glibc.

    Yields:
        Nothing.
    """
    if _scarce.get() or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)

    def choose(trim: int, pad: int, blocks: int) -> None:
        library.mallopt(_TRIM_THRESHOLD, trim)
        library.mallopt(_TOP_PAD, pad)
        library.mallopt(_MMAP_MAX, blocks)

    global _threads_inside
    with _COUNTING:
        _threads_inside += 1
        choose(trim=-1, pad=64 * _MIB, blocks=0)  # -1: never, for a number larger than 2 GiB does not fit into an int
    try:
        yield
    finally:
        with _COUNTING:
            _threads_inside -= 1
            if _threads_inside == 0:
                # What glibc itself comes to in a process that has allocated and freed large blocks.
                library.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
                choose(trim=64 * _MIB, pad=128 * 1024, blocks=65536)
                library.malloc_trim(0)
