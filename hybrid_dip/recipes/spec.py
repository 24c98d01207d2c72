"""SPEC strings: ``NAME[:option=value,...][@weight]`` -> objects, for the command line and study files.

NAME is a name of the catalogue, ``file.py:attribute`` or ``package.module:attribute``. A class is instantiated with the
options; a function gets them bound. An option may itself be such an object (a denoiser) or a schedule, where its annotation
says so. The weight is a number or a schedule: ``0.05``, ``balance=0.5``, ``linear=0.1..0``, ``cosine=0.1..0``,
``steps=0.1,500,0.01`` (another value from step 500), ``warmup=0.05,200``; without one it is ``balance=0.5``.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from hybrid_dip.errors import HybridDIPError, SettingsError, nearest, told
from hybrid_dip.recipes.catalogue import OWN, Catalogue
from hybrid_dip.regularisers.schedules import Balanced, Cosine, Linear, Steps, WarmUp
from hybrid_dip.regularisers.terms import Schedule, Term

DEFAULT_WEIGHT = "balance=0.5"
MADE_LATER = ("networks", "latents")
"""Kinds whose classes are made by whoever knows the number of channels and the size."""

_FILE = re.compile(r"^(?![\w-]+:\w+=)(?P<place>.+\.py):(?P<attribute>[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_MODULE = re.compile(r"^(?P<place>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_NESTED = re.compile(r"^[\w-]+:\w+=")
_NAME = re.compile(r"^(?P<name>[^:]+)(?::(?P<options>.*))?$")


@dataclass(frozen=True)
class Spec:
    """A SPEC string taken apart.

    Attributes:
        text: As it was written.
        name: Of the catalogue; "" for a user's own object.
        place: File or module of a user's own object; "" for a name of the catalogue.
        attribute: In that file or module.
        options: Name -> value, Python literals where they parse as such, strings otherwise.
        weight: As written; "" without one.
    """

    text: str
    name: str
    place: str
    attribute: str
    options: Mapping[str, Any]
    weight: str

    @property
    def label(self) -> str:
        """What a term made from this is called."""
        return self.name or self.attribute


def parse(text: str) -> Spec:
    """Take a SPEC string apart.

    Args:
        text: ``NAME[:option=value,...][@weight]``.

    Returns:
        The parts.

    Raises:
        SettingsError: It is not of that form.
    """
    body, at, weight = text.rpartition("@")
    if not at or "/" in weight or ".py:" in weight:  # an @ in a path is no weight
        body, weight = text, ""
    for pattern in (_FILE, _MODULE, _NAME):
        match = pattern.match(body)
        if match:
            parts = match.groupdict()
            options = _options(parts.get("options") or "", text)
            return Spec(text, parts.get("name") or "", parts.get("place") or "", parts.get("attribute") or "", options, weight)
    raise SettingsError(f"'{text}' is not of the form NAME[:option=value,...][@weight].")


def fingerprint(text: str, kind: str = "", names: Catalogue | None = None) -> str:
    """SHA-256 of what a user's own object or a plug-in's comes from, and of files among its options, to notice a change.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        kind: Of the catalogue.
        names: The catalogue; without it, names that come with a package are not looked up.

    Returns:
        In hexadecimal; "" for this package's own names, and where there is no file.

    Raises:
        SettingsError: It is not of that form.
    """
    spec = parse(text)
    path = Path(spec.place)
    if path.suffix != ".py":
        entry = names.entries(kind).get(spec.name) if names is not None and spec.name else None
        foreign = entry is not None and entry.source != OWN
        module = entry.module if entry is not None and foreign else spec.place
        try:
            with _here():
                found = importlib.util.find_spec(module) if module else None
        except (ImportError, ValueError):
            found = None
        path = Path(found.origin if found is not None and found.origin is not None else "")
    files = [file for place in (str(path), *_places(spec)) for file in _files(Path(place))]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""


def _places(spec: Spec) -> list[str]:
    """What among the options, and theirs, may be a file or a folder: an image, ``file.py`` of ``file.py:name``."""
    texts = [value for value in spec.options.values() if isinstance(value, str) and value]
    inner = [place for text in texts if _NESTED.match(text) for place in _places(parse(text))]
    return [text.partition(":")[0] if ".py:" in text else text for text in texts] + inner


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.glob("*") if file.is_file()) if path.name else []


def located(text: str, folder: Path) -> str:
    """A SPEC string whose files, its own and those among its options, are found from anywhere.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        folder: What the file's path is relative to.

    Returns:
        The same with an absolute path.

    Raises:
        SettingsError: It is not of that form.
    """
    spec = parse(text)
    places = [spec.place] if spec.place.endswith(".py") else []
    for place in dict.fromkeys([*places, *(place for place in _places(spec) if (folder / place).exists())]):
        text = text.replace(place, str((folder / place).resolve()), 1)
    return text


def _options(text: str, whole: str) -> dict[str, Any]:
    """``a=1,b=2,3`` -> {"a": 1, "b": (2, 3)}: a comma ends an option only where another name= follows."""
    options: dict[str, Any] = {}
    for part in re.split(r",(?=\s*[A-Za-z_]\w*=)", text) if text else []:
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals:
            raise SettingsError(f"'{part}' in '{whole}' is not of the form option=value.")
        if name in options:
            raise SettingsError(f"The option '{name}' occurs twice in '{whole}'.")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def build(text: str, kind: str, catalogue: Catalogue) -> Any:
    """The object that a SPEC string stands for: a class instantiated, a function (and a network's class) with options bound.

    Args:
        text: ``NAME[:option=value,...]``.
        kind: Of the catalogue.
        catalogue: Where names are looked up.

    Returns:
        The object.

    Raises:
        SettingsError: An unknown name or option, a wrong value, or a file that cannot be loaded.
    """
    spec = parse(text)
    if spec.weight:
        raise SettingsError(f"'{text}' has a weight, which goes with regularisers only.")
    return _object(spec, kind, catalogue)


def term(text: str, catalogue: Catalogue) -> Term:
    """A weighted regulariser from a SPEC string.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        catalogue: Where names are looked up.

    Returns:
        The term.

    Raises:
        SettingsError: An unknown name or option, a wrong value or weight, or a file that cannot be loaded.
    """
    spec = parse(text)
    found = _object(spec, "regularisers", catalogue)
    try:
        return Term(found, schedule(spec.weight or DEFAULT_WEIGHT), spec.label)
    except SettingsError as error:
        raise SettingsError(f"'{text}': {error}") from None


def schedule(text: str) -> float | Schedule:
    """A weight: a number, or a schedule by name.

    Args:
        text: ``0.05``, ``balance=0.5``, ``linear=0.1..0``, ``cosine=0.1..0``, ``steps=0.1,500,0.01`` or ``warmup=0.05,200``.

    Returns:
        The weight.

    Raises:
        SettingsError: Not one of these, or out of range.
    """
    kind, equals, value = text.partition("=")
    try:
        if not equals:
            return float(kind)
        if kind in _SCHEDULES:
            return _SCHEDULES[kind](value)
    except (ValueError, TypeError) as error:
        if isinstance(error, HybridDIPError):
            raise
        raise SettingsError(f"'{text}' is not a weight; expected a number or such as {_EXAMPLES}.") from None
    raise SettingsError(f"There is no schedule '{kind}': {nearest(kind, list(_SCHEDULES))}.")


def _ends(value: str) -> tuple[float, float]:
    start, dots, end = value.partition("..")
    if not dots:
        raise ValueError(value)
    return float(start), float(end)


def _warmup(value: str) -> WarmUp:
    level, _, steps = value.partition(",")
    return WarmUp(float(level), int(steps))


def _steps(value: str) -> Steps:
    parts = value.split(",")
    return Steps(tuple(map(float, parts[::2])), tuple(map(int, parts[1::2])))


_SCHEDULES: dict[str, Callable[[str], Schedule]] = {
    "balance": lambda value: Balanced(float(value)),
    "linear": lambda value: Linear(*_ends(value)),
    "cosine": lambda value: Cosine(*_ends(value)),
    "steps": _steps,
    "warmup": _warmup,
}
_EXAMPLES = "balance=0.5, linear=0.1..0, cosine=0.1..0, steps=0.1,500,0.01, warmup=0.05,200"


_ACCEPTED: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}
"""Annotation -> what an option's value may be; other annotations are checked by whoever takes the value."""


def _object(spec: Spec, kind: str, catalogue: Catalogue) -> Any:
    if spec.name.endswith(".py"):
        raise SettingsError(f"'{spec.name}' is a file: name what to take from it, as in {spec.name}:NAME.")
    found = _own(spec) if spec.place else catalogue.get(kind, spec.name)
    if not inspect.isclass(found) and not inspect.isfunction(found) and not isinstance(found, partial):
        if spec.options:
            raise SettingsError(f"'{spec.label}' is an object, not a class or function: it takes no options.")
        return found
    options = _made(found, spec, catalogue)
    check_options(found, spec.label, options)
    if inspect.isclass(found) and kind not in MADE_LATER:
        try:
            return found(**options)
        except HybridDIPError as error:
            raise type(error)(f"'{spec.text}': {error}") from None
        except (Exception, SystemExit) as error:  # the class may be anybody's
            raise SettingsError(f"'{spec.text}' cannot be made: {told(error)}.") from None
    return partial(found, **options) if options else found


def _made(found: Any, spec: Spec, catalogue: Catalogue) -> dict[str, Any]:
    """The options, with those turned into objects whose annotation asks for them."""
    source = found.func if isinstance(found, partial) else found
    try:
        hints = get_type_hints(
            source.__init__ if inspect.isclass(source) and not is_dataclass(source) else source, None, None, True
        )
    except Exception:  # annotations of anybody's code may name what is not there
        hints = {}
    options = dict(spec.options)
    for name, value in options.items():
        hint = hints.get(name)
        if isinstance(value, str) and get_origin(hint) is Annotated:
            options[name] = build(value, get_args(hint)[1], catalogue)
        elif isinstance(value, str) and Schedule in get_args(hint):
            # Where a word is accepted, too, a schedule is known by its equals sign.
            options[name] = schedule(value) if "=" in value or str not in get_args(hint) else value
        elif get_origin(hint) is tuple and not isinstance(value, tuple):
            options[name] = (value,)
        elif get_origin(hint) is Literal and value not in get_args(hint):
            raise SettingsError(f"The option '{name}' of '{spec.label}': {nearest(str(value), [*map(str, get_args(hint))])}.")
    return options


def check_options(found: Callable[..., Any], label: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a class or function does not take, and numbers of the wrong type.

    Args:
        found: What takes them.
        label: Its name, for messages.
        options: Name -> value.

    Raises:
        SettingsError: An unknown option, with the nearest one, or a wrong type.
    """
    parameters = inspect.signature(found).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name, value in options.items():
        if name not in parameters:
            raise SettingsError(f"'{label}' has no option '{name}': {nearest(name, list(parameters))}.")
        wanted = parameters[name].annotation
        accepted = _ACCEPTED.get(wanted)
        if accepted is not None and (not isinstance(value, accepted) or (wanted is not bool and isinstance(value, bool))):
            expected = "True or False" if wanted is bool else f"of type {wanted.__name__}"
            raise SettingsError(f"The option '{name}' of '{label}' must be {expected}, got {value!r}.")


@contextmanager
def _here() -> Iterator[None]:
    """Modules of the current folder are found, too, after all others: the console script does not look there."""
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _own(spec: Spec) -> Any:
    """An attribute of a user's file or module."""
    try:
        if spec.place.endswith(".py"):
            path = Path(spec.place)
            if not path.is_file():
                raise SettingsError(f"There is no file {path} (of '{spec.text}').")
            loader = importlib.util.spec_from_file_location(f"_hybrid_dip_user_{path.stem}", path.resolve())
            assert loader is not None
            assert loader.loader is not None
            module = importlib.util.module_from_spec(loader)
            # dataclasses and pickling look their module up by name
            sys.modules[module.__name__] = module
            loader.loader.exec_module(module)
        else:
            with _here():
                module = importlib.import_module(spec.place)
    except HybridDIPError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        missing = isinstance(error, ModuleNotFoundError) and f"{spec.place}.".startswith(f"{error.name}.")
        hint = "; an option is written NAME:option=value, what a file holds mine.py:NAME" if missing else ""
        raise SettingsError(f"'{spec.place}' cannot be loaded: {told(error)}{hint}.") from None
    if not hasattr(module, spec.attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise SettingsError(f"'{spec.place}' has no '{spec.attribute}': {nearest(spec.attribute, public)}.")
    return getattr(module, spec.attribute)
