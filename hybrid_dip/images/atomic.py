"""Writing files whole or not at all: under a temporary name, which is then renamed."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from hybrid_dip.errors import StorageError

LEAST_FREE = 64 * 1024
"""A disk with fewer bytes free, while a file that could not be written whole is still there, is full."""


def as_file_name(label: str) -> str:
    """A label as part of a file name: letters, digits and "+-_." stay, all else becomes a dash."""
    return "".join(c if c.isalnum() or c in "+-_." else "-" for c in label)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end, if there was no error, it takes the place of ``path``.

    The temporary file keeps the suffix, because writers choose the format by it. It is flushed to the disk before the
    rename, so that a crash leaves either the old file or the new one.

    Args:
        path: The file to write.

    Yields:
        The path to write to.

    Raises:
        StorageError: The file system refused; its ``strerror`` is the reason alone.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        reason = _reason(error, path.parent)
        refused = StorageError(f"{path} cannot be written: {reason}.")
        refused.strerror = reason
        raise refused from None
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: BaseException, folder: Path) -> str:
    """Why a file cannot be written; some libraries say it by a line of their own code."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
        cause = cause.__context__
    if folder.is_dir() and shutil.disk_usage(folder).free < LEAST_FREE:
        return os.strerror(errno.ENOSPC)
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__


def write_bytes(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through ``write(handle)``, whole or not at all.

    Args:
        path: The file to write.
        write: A function of the open binary file.
    """
    with replacement(path) as temporary, temporary.open("wb") as handle:
        write(cast(IO[bytes], handle))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Args:
        path: The file to write.
        text: Its content.
    """
    write_bytes(path, lambda handle: handle.write(text.encode()))
