"""What can go wrong, said in one sentence: what was wrong, what was expected, what to do."""

import math
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from pathlib import PurePath
from types import FrameType
from typing import Any

import numpy as np
import torch


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


class HybridDIPWarning(UserWarning):
    """Something that works, but may not be what was meant; the command line prints the sentence and goes on."""


def warn(sentence: str) -> None:
    """Say a sentence as a :class:`HybridDIPWarning`: the same sentence is said only once.

    Args:
        sentence: What was found, and what to do if it was not meant.
    """
    warnings.warn(sentence, HybridDIPWarning, stacklevel=2)


class Interrupted(Exception):
    """The user pressed Ctrl-C, and what was going on has been saved."""


@contextmanager
def one_sentence(program: str, interrupted: str = "Interrupted.") -> Iterator[None]:
    """End a program in one sentence: after an error of this package, a file that is not there, or Ctrl-C.

    Warnings of this package are a sentence each as well. The notes of an error have a line each.

    Args:
        program: Name of the program; the sentence begins with it.
        interrupted: Sentence to print on Ctrl-C.

    Yields:
        Nothing.

    Raises:
        SystemExit: With 2 after an error, with 130 after Ctrl-C.
    """
    try:
        with _plain_warnings(program):
            yield
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except (HybridDIPError, OSError) as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"  {note}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _plain_warnings(program: str) -> Iterator[None]:
    """Inside, a warning of this package is printed without the place in the code."""
    with collect_warnings(lambda sentence: print(f"{program}: {sentence}", file=sys.stderr)):
        yield


@contextmanager
def collect_warnings(say: Callable[[str], object]) -> Iterator[None]:
    """Inside, the sentences of :func:`warn` go to a function, each once, also if they were said before.

    Args:
        say: Takes a sentence.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        as_before, said = warnings.showwarning, set()
        warnings.simplefilter("always", HybridDIPWarning)  # Python forgets what was said whenever filters change

        def show(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
            sentence = " ".join(str(message).split())
            if not issubclass(category, HybridDIPWarning):
                as_before(message, category, *where, **more)  # type: ignore[arg-type]
            elif sentence not in said:
                said.add(sentence)
                say(sentence)

        warnings.showwarning = show
        yield


MANY = 120
"""Most names that are listed in an error."""


def shorten_error(error: BaseException, most: int = 120) -> str:
    """The message of an error on one line, shortened, to be quoted in a sentence.

    Args:
        error: The error.
        most: Most characters; words beyond them are left out.

    Returns:
        The text without a full stop at its end.
    """
    return textwrap.shorten(str(error).strip().rstrip("."), most, placeholder=" ...") or "no reason given"


def describe_error(error: BaseException) -> str:
    """The class and message of an error on one line, as the end of a sentence.

    Args:
        error: The error, of any class.

    Returns:
        Text without a full stop, such as ``"IndexError: index 1 is out of range"``.
    """
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def nearest(name: str, known: list[str]) -> str:
    """A hint for a misspelt name: the closest known names, or all of them where none is close.

    Args:
        name: Name that was asked for.
        known: Names that exist; of more than :data:`MANY` the nearest are given.

    Returns:
        ``"did you mean 'tv'"``, ``"known are 'a', 'b'"`` or ``"the nearest of 900 names are 'a', 'b'"``.
    """
    from difflib import get_close_matches

    few = len(known) <= MANY
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    shown = close or (sorted(known) if few else get_close_matches(name, known, n=3, cutoff=0))
    quoted = ", ".join(f"'{candidate}'" for candidate in shown)
    if close:
        return f"did you mean {quoted}"
    return f"known are {quoted}" if few else f"the nearest of {len(known)} names are {quoted}"


@contextmanager
def blame_errors_on(what: str, when: str) -> Iterator[None]:
    """Turn what a user's code raises into a sentence that names it.

    Args:
        what: Part whose code runs, such as "The network".
        when: When it runs, such as "at step 0".

    Yields:
        Nothing.

    Raises:
        FitError: The code raised an error. Errors of this package, and a lack of memory, stay as they are.
    """
    try:
        yield
    except (HybridDIPError, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        if "allocate memory" in str(error):  # so torch says it on the CPU
            raise
        raise FitError(f"{what} failed {when}: {describe_error(error)}.") from error


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a question "was Ctrl-C pressed?"; a second one interrupts at once."""
    pressed = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    try:
        before = signal.signal(signal.SIGINT, handler)
    except ValueError:  # not in the main thread, where signals do not arrive
        yield lambda: False
        return
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def describe_given(value: object) -> str:
    """What a user passed, in words, for the end of a sentence: "the text 'a.png'", "a tensor of shape (3,)", "an ndarray"."""
    match value:
        case None:
            return "None"
        case str():
            return f"the text '{value}'"
        case PurePath():
            return f"the path '{value}'"
        case bool() | int() | float():
            return repr(value)
        case torch.Tensor():
            return f"a tensor of shape {tuple(value.shape)}"
        case np.ndarray():
            return f"a NumPy array of shape {value.shape}"
        case type():
            return f"the class {value.__name__}"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Take a count that a user gives; 10.0 counts as 10.

    Args:
        name: What it is called in the sentence.
        value: What was given.
        least: Smallest that is accepted.

    Returns:
        The number.

    Raises:
        SettingsError: It is no whole number, or below the least.
    """
    number = _as_number(value)
    if not (math.isfinite(number) and number == int(number) and number >= least):
        raise SettingsError(f"{name} must be a whole number of at least {least}, got {describe_given(value)}.")
    return int(number)


def check_kind(name: str, value: object, kind: Any, expected: str) -> None:
    """Refuse what is not of a kind.

    Args:
        name: What it is called in the sentence.
        value: What was given.
        kind: Class or union of classes.
        expected: What was expected, in words.

    Raises:
        SettingsError: It is of another.
    """
    if not isinstance(value, kind):
        raise SettingsError(f"{name} must be {expected}, got {describe_given(value)}.")


def check_function(name: str, value: object, expected: str) -> None:
    """Refuse what cannot be called; a class is taken for a function that makes its objects.

    Args:
        name: What it is called in the sentence.
        value: What was given.
        expected: What was expected, in words.

    Raises:
        SettingsError: It is something else.
    """
    if not callable(value):
        raise SettingsError(f"{name} must be {expected}, got {describe_given(value)}.")


def _as_number(value: object) -> Any:
    """A number, also of NumPy or of a tensor (); NaN for all else. True is no number here."""
    if isinstance(value, torch.Tensor) and value.shape == ():
        value = value.item()
    return value if isinstance(value, Real) and not isinstance(value, bool | np.bool_) else math.nan


def finite_number(name: str, value: object, *, above: bool = False) -> float:
    """Take a number that a user gives, at least 0.

    Args:
        name: What it is called in the sentence.
        value: What was given.
        above: Whether 0 is refused.

    Returns:
        The number.

    Raises:
        SettingsError: It is no finite number, or out of range.
    """
    number = float(_as_number(value))
    if not (math.isfinite(number) and number >= 0) or (above and number == 0):
        bound = "above 0" if above else "of at least 0"
        raise SettingsError(f"{name} must be a finite number {bound}, got {describe_given(value)}.")
    return number
