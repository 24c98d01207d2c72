"""The switch --quiet, which reaches what runs far below a command, and in its worker processes."""

import os

QUIET = "HYBRID_DIP_QUIET"
"""In the environment while a command is quiet."""


def set_quiet(_: object, quiet: bool) -> None:
    """Remember whether the command is quiet; the form is that of a validator of an option."""
    os.environ.pop(QUIET, None)
    if quiet:
        os.environ[QUIET] = "1"


def is_quiet() -> bool:
    """Whether the command was asked to be quiet, so that a download says nothing."""
    return QUIET in os.environ
