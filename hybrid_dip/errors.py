"""What can go wrong, said in one sentence: what was wrong, what was expected, what to do."""


class HybridDIPError(Exception):
    """Base of the errors that this package raises on purpose; the command line prints them and exits with 2."""


class ImageFileError(HybridDIPError, ValueError):
    """A file could not be read as an image, or an image could not be written."""


class SettingsError(HybridDIPError, ValueError):
    """An option, a name or a combination of the two that cannot work."""


class FitError(HybridDIPError, RuntimeError):
    """A fit that cannot go on, such as a prior that returns NaN at the first step."""


class StorageError(HybridDIPError, OSError):
    """A state or a result cannot be written: the disk is full, or the folder may not be written to."""


class Interrupted(Exception):
    """The user pressed Ctrl-C, and what was going on has been saved."""


def told(error: BaseException) -> str:
    """What anybody's code has raised, as the end of a sentence, on one line and without its full stop.

    Args:
        error: Of any class.

    Returns:
        ``"IndexError: index 1 is out of range"``.
    """
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def nearest(name: str, known: list[str]) -> str:
    """A hint for a misspelt name: the closest known ones, or all of them where none is close.

    Args:
        name: What was asked for.
        known: The names that exist.

    Returns:
        ``"did you mean 'tv'"`` or ``"known are 'a', 'b'"``.
    """
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    quoted = ", ".join(f"'{candidate}'" for candidate in (close or sorted(known)))
    return f"did you mean {quoted}" if close else f"known are {quoted}"
