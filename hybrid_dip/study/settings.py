"""The study file: TOML -> checked settings. What the names in it stand for is looked up by :mod:`hybrid_dip.study.plan`.

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

The sections below say what else there is.
"""

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.shapley import coalitions

Name = Annotated[str, Field(min_length=1, pattern=r"^[^/\\\x00-\x1f]+$")]
"""A label of the results table, and part of a picture's file name."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImageEntry(_Section):
    """Where images come from: a path, or a table with a path and more.

    Attributes:
        path: A file, a folder (all images in it), a glob, or ``skimage:NAME``; relative to the study file.
        name: In the results; by default the file's name without its suffix. For a single image only.
        reference: Of a degraded image the clean one, to measure by. For a single image only.
        crop: Side of the centre crop, or [top, left, height, width].
    """

    path: str
    name: Name | None = None
    reference: str | None = None
    crop: Annotated[int, Field(ge=1)] | Annotated[list[int], Field(min_length=4, max_length=4)] | None = None


class TaskEntry(_Section):
    """A degradation with its strength and protocol; or what is wrong with images that are degraded already.

    Attributes:
        kind: Of ``hybrid-dip list degradations``; of ``hybrid-dip list tasks`` where the images are observed.
        name: In the results; by default the kind, with its options where two tasks are of one kind.
        crop: Side of the centre crop for this task, instead of the study's.
        steps: Of every arm on this task, instead of the arm's own.
        observed: The images are degraded already; the clean one, where there is one, is each image's ``reference``.
        held_out: Share of the measured pixels that no fit sees, for the metric "held_out".

    All further keys are options of the degradation, as ``hybrid-dip degrade`` takes them: sigma, clip, factor, seed, ...; or
    of the task, as ``hybrid-dip restore`` takes them.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    kind: str
    name: Name | None = None
    crop: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int | None, Field(ge=1)] = None
    observed: bool = False
    held_out: Annotated[float | None, Field(gt=0, lt=1)] = None

    @property
    def options(self) -> dict[str, Any]:
        """The further keys, as written."""
        return dict(self.model_extra or {})


class ArmEntry(_Section):
    """A preset and what is different from it, under the names of the command line's options.

    Attributes:
        name: In the results.
        preset: SPEC; a name of ``hybrid-dip list presets``, ``one-shot:denoiser=NAME``, ``file.py:name``.
        network: SPEC.
        latent: SPEC.
        start: File of parameters to begin at, relative to the study file.
        solver: SPEC of a solver instead of the plain loop.
        optimise: What is fitted.
        optimizer: "adam", "muon" or "lbfgs".
        lr: Learning rate.
        lr_schedule: Such as "cosine=1..0.1".
        jitter: Deviation of the noise added to the latent.
        parameter_noise: Relative deviation of noise added to the weights.
        average: Decay of the output average; 0 for none.
        steps: Instead of the preset's number.
        regularisers: SPECs with weights.
        stop: SPEC of a stopping rule instead of the preset's; "stopping" is read, too.
        runs: Fits whose images are averaged, instead of the preset's number.
        fuse: "stack": the network alone, with each regulariser, and with all, combined by weights that data choose.
        presets: SPECs of presets that take part in the stack.
    """

    name: Name
    preset: str = "original"
    network: str | None = None
    latent: str | None = None
    start: str | None = None
    solver: str | None = None
    optimise: Literal["network", "latent", "both"] | None = None
    optimizer: Literal["adam", "muon", "lbfgs"] | None = None
    lr: float | None = None
    lr_schedule: str | None = None
    jitter: float | None = None
    parameter_noise: float | None = None
    average: Annotated[float, Field(ge=0, lt=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    regularisers: list[str] = []
    stop: Annotated[str | None, Field(validation_alias=AliasChoices("stop", "stopping"))] = None
    runs: Annotated[int, Field(ge=1)] | None = None
    fuse: Literal["stack"] | None = None
    presets: list[str] = []

    @property
    def overrides(self) -> dict[str, Any]:
        """What :func:`hybrid_dip.arguments.overridden` takes."""
        others = ("name", "preset", "regularisers", "stop", "fuse", "presets")
        return {name: value for name, value in self if name not in others}


class PriorEntry(_Section):
    """One prior of an attribution: what an arm has where it is in, and where it is out.

    Attributes:
        name: In the results.
        regularisers: SPECs with weights, added where the prior is in.
        on: Keys of an arm, set where the prior is in.
        off: Keys of an arm, set where it is out: ``off = { network = "pixels" }`` is an arm without an architecture.
    """

    name: Annotated[Name, Field(pattern=r"^[^+]+$")]
    regularisers: list[str] = []
    on: dict[str, Any] = {}
    off: dict[str, Any] = {}


class AttributionEntry(_Section):
    """How many dB each prior brings: an arm is made of every subset of the priors (hybrid_dip.study.attribution).

    Attributes:
        priors: At least two.
        none: SPEC of the preset that stands for no prior at all, the same for all subsets to start from.
        common: Keys that all other arms have.
    """

    priors: Annotated[list[PriorEntry], Field(min_length=2, max_length=6)]
    none: str = "baseline"
    common: dict[str, Any] = {}


class Budget(_Section):
    """How long it may take.

    Attributes:
        seconds_per_run: After which a fit ends with what it has; results then depend on the machine's speed.
        hours: After which what is going on is saved, and the rest waits for the next call.
    """

    seconds_per_run: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


def _as_table(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Study(_Section):
    """A study file's content.

    Attributes:
        name: Of the study.
        images: Where they come from.
        crop: Side of the centre crop that all images are cut to.
        seeds: Of network, latent and jitter; the degradation has its own.
        metrics: What is measured, may be nothing: names of ``hybrid-dip list metrics`` or SPECs, with "_raw" before known
            pixels are pasted back; "psnr_best", the oracle; "held_out", the error on what a task holds out.
        threads: CPU threads of each run; part of what a result depends on.
        tasks: Degradations.
        arms: What is compared.
        attribution: Priors of which all subsets are arms, too.
        baseline: The arm that the others are compared with in the report; by default the first one.
        budget: How long it may take.
    """

    name: Name
    images: Annotated[list[Annotated[ImageEntry, BeforeValidator(_as_table)]], Field(min_length=1)]
    crop: Annotated[int, Field(ge=1)] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**62)]], Field(min_length=1)] = [0]
    metrics: list[str] = ["psnr", "ssim"]
    threads: Annotated[int, Field(ge=1)] = 1
    tasks: Annotated[list[TaskEntry], Field(min_length=1)]
    arms: list[ArmEntry] = []
    attribution: AttributionEntry | None = None
    baseline: str | None = None
    budget: Budget = Budget()

    _path: Path = PrivateAttr(default=Path("study.toml"))

    @property
    def path(self) -> Path:
        """The file that it was read from."""
        return self._path

    @property
    def folder(self) -> Path:
        """What paths in the file are relative to."""
        return self._path.parent


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
        path: TOML.

    Returns:
        The study.

    Raises:
        FileNotFoundError: There is no such file.
        SettingsError: It is not TOML, or a key or a value is wrong; the sentence gives the place and the nearest name.
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
        content: As TOML would give it.
        path: For messages, and to resolve relative paths.

    Returns:
        The study.

    Raises:
        SettingsError: A key or a value is wrong.
    """
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        # A misspelt key tells more than that the right one is missing.
        errors = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
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
        priors: The subset.
        among: All of them, for the order.

    Returns:
        Words; :data:`NO_PRIOR` for the empty set.
    """
    return " + ".join(name for name in among if name in priors) or NO_PRIOR


def subset_arms(entry: AttributionEntry, path: Path = Path("study.toml")) -> list[ArmEntry]:
    """The arm of every subset of an attribution's priors.

    Args:
        entry: The section.
        path: For messages.

    Returns:
        The arm without any first, that with all last.

    Raises:
        SettingsError: Two priors of one name, or a key that an arm does not have.
    """
    names = [prior.name for prior in entry.priors]
    for name in names:
        if names.count(name) > 1 or name == NO_PRIOR:
            raise SettingsError(f"{path}, [attribution]: no prior, and no two of them, may be called '{name}'.")
    arms = [ArmEntry(name=NO_PRIOR, preset=entry.none)]
    for subset in coalitions(names)[1:]:
        keys: dict[str, Any] = dict(entry.common)
        regularisers = list(keys.pop("regularisers", []))
        for prior in entry.priors:
            keys |= prior.on if prior.name in subset else prior.off
            regularisers += prior.regularisers if prior.name in subset else []
        try:
            arms.append(ArmEntry.model_validate({**keys, "name": subset_label(subset, names), "regularisers": regularisers}))
        except ValidationError as error:
            content = {"arms": [{**keys, "name": subset_label(subset, names)}]}
            found = {**error.errors()[0], "loc": ("arms", 0, *error.errors()[0]["loc"])}
            raise SettingsError(f"{path}, [attribution]: {_sentence(found, content).partition(': ')[2]}") from None
    return arms


def as_toml(content: Mapping[str, Any]) -> str:
    """A study's content as a file.

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
    return json.dumps(value)


def place(section: str, index: int, entry: Any) -> str:
    """Where in the file: "arm 2 ('dip+tv')".

    Args:
        section: "images", "tasks" or "arms".
        index: From 0.
        entry: The section's table, for its name.

    Returns:
        Words.
    """
    table = entry if isinstance(entry, dict) else {}
    name = table.get("name") or table.get("kind") or table.get("path") or (entry if isinstance(entry, str) else "")
    return f"{section.rstrip('s')} {index + 1}" + (f" ('{name}')" if name else "")


def _sentence(error: Any, content: dict[str, Any]) -> str:
    """One of pydantic's errors in words."""
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
