"""SPEC strings: ``NAME[:option=value,...][@weight]`` -> objects, for the command line and study files.

NAME is a name of the catalogue, ``file.py:attribute`` or ``package.module:attribute``. A class is instantiated with the
options; a function gets them bound. An option may itself be such an object (a denoiser) or a schedule, where its annotation
says so. The weight is a number or a schedule: ``0.05``, ``balance=0.5``, ``linear=0.1..0``, ``cosine=0.1..0``,
``steps=0.1,500,0.01`` (another value from step 500), ``warmup=0.05,200``; without one it is ``balance=0.5``.
"""

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error, nearest
from hybrid_dip.recipes.catalogue import Catalogue
from hybrid_dip.recipes.loading import load
from hybrid_dip.recipes.schedule_spec import read_schedule
from hybrid_dip.regularisers.terms import Schedule, Term

DEFAULT_WEIGHT = "balance=0.5"
MADE_LATER = ("networks", "latents")
"""Kinds whose classes are called once the number of channels and the size are known."""
NESTED = re.compile(r"^[\w-]+:\w+=")
"""How an option begins that is itself a name of the catalogue with options."""

_FILE = re.compile(r"^(?![\w-]+:\w+=)(?P<place>.+\.py):(?P<attribute>[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_MODULE = re.compile(r"^(?P<place>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_NAME = re.compile(r"^(?P<name>[^:]+)(?::(?P<options>.*))?$")


@dataclass(frozen=True)
class Spec:
    """A SPEC string taken apart.

    Attributes:
        text: The string as it was written.
        name: Name of the catalogue; "" for a user's own object.
        place: File or module of a user's own object; "" for a name of the catalogue.
        attribute: Name of the object in that file or module.
        options: Name -> value, Python literals where they parse as such, strings otherwise.
        weight: The weight as it was written; "" without one.
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
            options = _parse_options(parts.get("options") or "", text)
            return Spec(text, parts.get("name") or "", parts.get("place") or "", parts.get("attribute") or "", options, weight)
    raise SettingsError(f"'{text}' is not of the form NAME[:option=value,...][@weight].")


def _parse_options(text: str, whole: str) -> dict[str, Any]:
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
    """Make the object that a SPEC string stands for.

    A class is instantiated; a function, and the class of a network or a latent, gets its options bound.

    Args:
        text: ``NAME[:option=value,...]``.
        kind: Kind of the catalogue that the name is of.
        catalogue: Where names are looked up.

    Returns:
        The object.

    Raises:
        SettingsError: An unknown name or option, a wrong value, or a file that cannot be loaded.
    """
    spec = parse(text)
    if spec.weight:
        raise SettingsError(f"'{text}' has a weight, which goes with regularisers only.")
    return _build(spec, kind, catalogue)


def term(text: str, catalogue: Catalogue) -> Term:
    """Make a weighted regulariser from a SPEC string.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        catalogue: Where names are looked up.

    Returns:
        The term.

    Raises:
        SettingsError: An unknown name or option, a wrong value or weight, or a file that cannot be loaded.
    """
    spec = parse(text)
    regulariser = _build(spec, "regularisers", catalogue)
    try:
        return Term(regulariser, read_schedule(spec.weight or DEFAULT_WEIGHT), label(spec, "regularisers", catalogue))
    except SettingsError as error:
        raise SettingsError(f"'{text}': {error}") from None


def label(spec: Spec, kind: str, catalogue: Catalogue) -> str:
    """What the object of a SPEC is called: as the catalogue spells its name, or as its file does."""
    entry = catalogue.find(kind, spec.name)
    return spec.label if entry is None else entry.name


def as_catalogued(text: str, kind: str, catalogue: Catalogue) -> str:
    """A SPEC whose name is written as the catalogue writes it, so that `TV@1` and `tv@1` are seen to be the same."""
    spec = parse(text)
    return label(spec, kind, catalogue) + text[len(spec.name) :] if spec.name else text


def _build(spec: Spec, kind: str, catalogue: Catalogue) -> Any:
    if spec.name.endswith(".py"):
        raise SettingsError(f"'{spec.name}' is a file: name what to take from it, as in {spec.name}:NAME.")
    maker = load(spec.place, spec.attribute) if spec.place else catalogue.get(kind, spec.name)
    if not inspect.isclass(maker) and not inspect.isfunction(maker) and not isinstance(maker, partial):
        if spec.options:
            raise SettingsError(f"'{spec.label}' is an object, not a class or function: it takes no options.")
        return maker
    options = _build_options(maker, spec, catalogue)
    check_options(maker, spec.label, options)
    if inspect.isclass(maker) and kind not in MADE_LATER:
        try:
            return maker(**options)
        except HybridDIPError as error:
            raise type(error)(f"'{spec.text}': {error}") from None
        except (Exception, SystemExit) as error:  # a user's class may fail in any way
            raise SettingsError(f"'{spec.text}' cannot be made: {describe_error(error)}.") from None
    return partial(maker, **options) if options else maker


def _build_options(maker: Any, spec: Spec, catalogue: Catalogue) -> dict[str, Any]:
    """The options, with those turned into objects whose annotation asks for them."""
    source = maker.func if isinstance(maker, partial) else maker
    try:
        hints = get_type_hints(
            source.__init__ if inspect.isclass(source) and not is_dataclass(source) else source, None, None, True
        )
    except Exception:  # annotations of a user's code may name what is not there
        hints = {}
    options = dict(spec.options)
    for name, value in options.items():
        hint = hints.get(name)
        if isinstance(value, str) and get_origin(hint) is Annotated:
            options[name] = build(value, get_args(hint)[1], catalogue)
        elif isinstance(value, str) and Schedule in get_args(hint):
            # Where the option may also be a word, a schedule is known by its equals sign.
            options[name] = read_schedule(value) if "=" in value or str not in get_args(hint) else value
        elif get_origin(hint) is tuple and not isinstance(value, tuple):
            options[name] = (value,)
        elif get_origin(hint) is Literal and value not in get_args(hint):
            raise SettingsError(f"The option '{name}' of '{spec.label}': {nearest(str(value), [*map(str, get_args(hint))])}.")
    return options


_ACCEPTED: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}
"""Annotation -> types that an option's value may have; values of other annotations are checked where they are used."""


def check_options(maker: Callable[..., Any], label: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a class or function does not take, and values of the wrong type.

    Args:
        maker: Class or function that takes the options.
        label: Its name, for messages.
        options: Name -> value.

    Raises:
        SettingsError: An unknown option, with the nearest one, or a wrong type.
    """
    parameters = inspect.signature(maker).parameters
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
