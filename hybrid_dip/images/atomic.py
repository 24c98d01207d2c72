"""Writing files whole or not at all: under a temporary name, which is then renamed."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast


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
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
