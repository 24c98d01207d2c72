"""The study file: TOML -> checked settings. The plan makes objects of the names in it (hybrid_dip.study.describe.plan).

    name = "tv-or-not"
    images = ["skimage:astronaut", "photos/*.png"]
    crop = 128
    seeds = [0, 1]
    metrics = ["psnr", "ssim"]

    [[tasks]]
    kind = "denoise"
    sigma = 25

    [[arms]]
    name = "dip"
    preset = "quick"

    [[arms]]
    name = "dip+tv"
    preset = "quick"
    regularisers = ["tv@0.05"]

The sections (:mod:`hybrid_dip.study.describe.sections`) say what else there is.
"""

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.study.describe.sections import ArmEntry, AttributionEntry, Budget, ImageEntry, PriorEntry, Study, TaskEntry
from hybrid_dip.study.describe.subsets import subsets

_SECTIONS: dict[str, type[BaseModel]] = {
    "images": ImageEntry,
    "tasks": TaskEntry,
    "arms": ArmEntry,
    "attribution": AttributionEntry,
    "budget": Budget,
}


def read_study(path: str | Path) -> Study:
    """Read a study file.

    Args:
        path: TOML file.

    Returns:
        The study.

    Raises:
        FileNotFoundError: There is no such file.
        SettingsError: It is not TOML, or a key or a value is wrong; the sentence says where, and which name is nearest.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; a study file such as {path / 'study.toml'} was expected.")
    if not path.exists():
        raise FileNotFoundError(f"There is no study file {path}.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {str(error).rstrip('.')}.") from None
    return as_study(content, path)


def as_study(content: dict[str, Any], path: Path = Path("study.toml")) -> Study:
    """Check settings that were made in Python rather than read from a file.

    Args:
        content: What TOML would give.
        path: File that messages name, and whose folder relative paths start at.

    Returns:
        The study.

    Raises:
        SettingsError: A key or a value is wrong.
    """
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        # A misspelt key tells more than that the right one is missing.
        errors = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        raise SettingsError(f"{path}, {_sentence(errors[0], content)}") from None
    if study.attribution is not None:
        study = study.model_copy(update={"arms": [*study.arms, *subset_arms(study.attribution, path)]})
    object.__setattr__(study, "_path", path)
    if not study.arms:
        raise SettingsError(f"{path}: there is nothing to compare; it needs [[arms]], or an [attribution].")
    if study.baseline is not None and study.baseline not in [arm.name for arm in study.arms]:
        known = [arm.name for arm in study.arms]
        raise SettingsError(f"{path}: the baseline '{study.baseline}' is no arm: {nearest(study.baseline, known)}.")
    lists: dict[str, list[Any]] = {"arms": [arm.name for arm in study.arms], "seeds": study.seeds, "metrics": study.metrics}
    for what, names in lists.items():
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise SettingsError(f"{path}: '{twice[0]}' occurs twice among the {what}.")
    return study


NO_PRIOR = "none"
"""The arm of the empty set."""


def subset_label(priors: Collection[str], among: Sequence[str]) -> str:
    """An arm's name: "architecture + learned".

    Args:
        priors: The priors of the subset.
        among: All priors, in order.

    Returns:
        The names in that order; :data:`NO_PRIOR` for the empty set.
    """
    return " + ".join(name for name in among if name in priors) or NO_PRIOR


def subset_arms(entry: AttributionEntry, path: Path = Path("study.toml")) -> list[ArmEntry]:
    """The arm of every subset of an attribution's priors.

    Args:
        entry: The section of the study file.
        path: File that messages name.

    Returns:
        The arms, without any prior first, with all of them last.

    Raises:
        SettingsError: Two priors of one name, or a key that an arm does not have.
    """
    names = [prior.name for prior in entry.priors]
    for name in names:
        if names.count(name) > 1 or name == NO_PRIOR:
            raise SettingsError(f"{path}, [attribution]: no prior, and no two of them, may be called '{name}'.")
    arms = [ArmEntry(name=NO_PRIOR, preset=entry.none)]
    for subset in subsets(names)[1:]:
        keys: dict[str, Any] = dict(entry.common)
        regularisers = list(keys.pop("regularisers", []))
        for prior in entry.priors:
            keys |= prior.on if prior.name in subset else prior.off
            regularisers += prior.regularisers if prior.name in subset else []
        try:
            arms.append(ArmEntry.model_validate({**keys, "name": subset_label(subset, names), "regularisers": regularisers}))
        except ValidationError as error:
            content = {"arms": [{**keys, "name": subset_label(subset, names)}]}
            placed = {**error.errors()[0], "loc": ("arms", 0, *error.errors()[0]["loc"])}
            raise SettingsError(f"{path}, [attribution]: {_sentence(placed, content).partition(': ')[2]}") from None
    return arms


def as_toml(content: Mapping[str, Any]) -> str:
    """A study's content as the text of a study file.

    Args:
        content: Numbers, strings, lists of them, tables, and lists of tables.

    Returns:
        TOML.
    """
    # Numbers, booleans, strings and lists look alike in JSON and TOML.
    tables = {
        name: value for name, value in content.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    lines = [f"{name} = {_inline(value)}" for name, value in content.items() if name not in tables]
    for name, entries in tables.items():
        for entry in entries:
            lines += ["", f"[[{name}]]", *(f"{key} = {_inline(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + " }"
    return json.dumps(value).replace("\x7f", "\\u007f")  # the one character that JSON leaves as it is and TOML does not


def place(section: str, index: int, entry: Any) -> str:
    """A place in the file, such as "arm 2 ('dip+tv')".

    Args:
        section: "images", "tasks", "arms" or "priors".
        index: Number of the entry, from 0.
        entry: The entry as written, for its name.

    Returns:
        The place in words.
    """
    table = entry if isinstance(entry, dict) else {}
    name = table.get("name") or table.get("kind") or table.get("path") or (entry if isinstance(entry, str) else "")
    return f"{section.rstrip('s')} {index + 1}" + (f" ('{name}')" if name else "")


def _sentence(error: Any, content: dict[str, Any]) -> str:
    """One of pydantic's errors as a sentence."""
    unions = ("int", "list[int]", "constrained-int", "list[constrained-int]")
    where = [part for part in error["loc"] if part not in unions]
    parts, key = [], str(where[-1]) if where else ""
    if len(where) > 1 and isinstance(where[1], int):
        entries = content.get(str(where[0]))
        entry = entries[where[1]] if isinstance(entries, list) else None
        parts.append(place(str(where[0]), where[1], entry))
        where = where[2:]
    elif len(where) > 1:
        parts.append(f"[{where[0]}]")
        where = where[1:]
    section = _SECTIONS.get(str(error["loc"][0])) if len(error["loc"]) > 1 else Study
    if error["loc"][:2] == ("attribution", "priors") and len(error["loc"]) > 2:
        entries = content["attribution"]["priors"]
        parts.append(place("priors", error["loc"][2], entries[error["loc"][2]]))
        section, where = PriorEntry, where[2:]
    known = list((section or Study).model_fields)
    prefix = "".join(f"{part}: " for part in parts)
    if error["type"] == "extra_forbidden":
        return f"{prefix}unknown key '{key}': {nearest(key, known)}."
    if error["type"] == "missing":
        return f"{prefix}'{key}' is missing."
    dotted = ".".join(str(part) for part in where)
    what = f"{prefix}'{dotted}'" if dotted else prefix.removesuffix(": ")
    shown = repr(error["input"]) if len(repr(error["input"])) < 80 else type(error["input"]).__name__
    return f"{what} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}, got {shown}."
