"""The files that a SPEC string names: whether they have changed, and where they are."""

import hashlib
from pathlib import Path

from hybrid_dip.recipes.catalogue import OWN, Catalogue
from hybrid_dip.recipes.loading import source_of
from hybrid_dip.recipes.spec import NESTED, Spec, parse


def fingerprint(text: str, kind: str = "", names: Catalogue | None = None) -> str:
    """Hash what a SPEC string depends on outside this package, to notice a change.

    This is the source file of a user's own object or a plug-in's, and every file and folder among its options.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        kind: Kind of the catalogue that the name is of.
        names: The catalogue; without it, names of plug-ins are not looked up.

    Returns:
        SHA-256 in hexadecimal; "" for this package's own names, and where there is no file.

    Raises:
        SettingsError: The text is not of that form.
    """
    spec = parse(text)
    places = [_source(spec, kind, names), *map(Path, _named_places(spec))]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for place in places for file in _files_in(place)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""


def locate(text: str, folder: Path) -> str:
    """Make the paths in a SPEC string absolute, its own and those among its options.

    Args:
        text: ``NAME[:option=value,...][@weight]``.
        folder: Folder that relative paths start from.

    Returns:
        The same SPEC string with absolute paths.

    Raises:
        SettingsError: The text is not of that form.
    """
    spec = parse(text)
    own = [spec.place] if spec.place.endswith(".py") else []
    given = [place for place in _named_places(spec) if (folder / place).exists()]
    for place in dict.fromkeys([*own, *given]):
        text = text.replace(place, str((folder / place).resolve()), 1)
    return text


def _source(spec: Spec, kind: str, names: Catalogue | None) -> Path:
    """The file that defines what a SPEC names; an empty path where there is none, or it is of this package."""
    if spec.place.endswith(".py"):
        return Path(spec.place)
    entry = names.find(kind, spec.name) if names is not None and spec.name else None
    module = entry.module if entry is not None and entry.source != OWN else spec.place
    return (source_of(module) if module else None) or Path()


def _named_places(spec: Spec) -> list[str]:
    """Options, and options of options, that may be a file or a folder: an image, ``file.py`` of ``file.py:name``."""
    texts = [value for value in spec.options.values() if isinstance(value, str) and value]
    inner = [place for text in texts if NESTED.match(text) for place in _named_places(parse(text))]
    return [text.partition(":")[0] if ".py:" in text else text for text in texts] + inner


def _files_in(place: Path) -> list[Path]:
    """A file itself, or the files of a folder."""
    return [place] if place.is_file() else sorted(file for file in place.glob("*") if file.is_file()) if place.name else []
