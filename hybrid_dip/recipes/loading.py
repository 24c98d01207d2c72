"""Objects from a user's own file or module, and the file that a module comes from."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error, nearest


def load(place: str, attribute: str) -> Any:
    """Take an object from a file or a module.

    Args:
        place: ``file.py``, or the dotted name of a module; one of the current folder will do.
        attribute: Name of the object there.

    Returns:
        The object.

    Raises:
        SettingsError: The file or module is missing or fails, or has no such attribute.
    """
    try:
        module = _run_file(Path(place)) if place.endswith(".py") else _import(place)
    except HybridDIPError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        missing = isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}.")
        hint = "; an option is written NAME:option=value, what a file holds mine.py:NAME" if missing else ""
        raise SettingsError(f"'{place}' cannot be loaded: {describe_error(error)}{hint}.") from None
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise SettingsError(f"'{place}' has no '{attribute}': {nearest(attribute, public)}.")
    return getattr(module, attribute)


def source_of(module: str) -> Path | None:
    """The file of a module, which is not run for this (the packages that it is in are).

    Args:
        module: Dotted name; one of the current folder will do.

    Returns:
        The file; None where there is no such module, or it has no file.
    """
    try:
        with _current_folder():
            spec = importlib.util.find_spec(module) or _import(module).__spec__
    except (ImportError, ValueError, HybridDIPError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    spec = importlib.util.spec_from_file_location(f"_hybrid_dip_user_{path.stem}", path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look their module up by name.
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    """A module, or what a package shows under that name, as ``hybrid_dip.deepinv`` is."""
    with _current_folder():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            package, dot, last = name.rpartition(".")
            if error.name != name or not dot:
                raise
            shown = getattr(importlib.import_module(package), last, None)
            if not isinstance(shown, ModuleType):
                raise
            return shown


@contextmanager
def _current_folder() -> Iterator[None]:
    """Look for modules in the current folder as well, after all other places: the console script does not do that."""
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
