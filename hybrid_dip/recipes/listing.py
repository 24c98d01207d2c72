"""What the catalogue holds, in words: `hybrid-dip list` and `hybrid-dip explain`."""

import importlib
import inspect
from functools import partial
from typing import Any

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.recipes.catalogue import KINDS, catalogue

WITH_OPTIONS = ("regularisers", "networks", "latents", "solvers", "stopping", "operators")
"""Kinds that are written NAME:option=value."""

_RESTORE = "hybrid-dip restore photo.png --task denoise --sigma 25 -o out"
_ON_NETWORK = (
    "Weight: balance=RHO compares its gradient, over the network's parameters, with one at the image: RHO is on no common scale"
    " with that of priors of the image, and good ones are often far above 1."
)
_PYTHON = {
    "regularisers": "hd.restore(task, regularisers=0.1 * {object}({given}))",
    "denoisers": "{object}(x, sigma), or hd.regularisers.RED(denoiser={object})",
    "operators": "hd.tasks.linear(y, {object}(...), shape=(1, C, H, W))",
    "networks": "hd.Recipe(network={object}, latent=..., steps=...)",
    "stopping": "hd.restore(task, rule={object}())",
    "tasks": "hd.restore({object}(y, ...))",
    "degradations": "{object}(clean, ...)",
    "metrics": "{object}(result, reference)",
}
"""Kind -> how it is written after ``import hybrid_dip as hd``."""
_USAGE = {
    "regularisers": _RESTORE + " -R {text}@balance=0.5",
    "denoisers": _RESTORE + " -R red:denoiser={text}@balance=0.5",
    "operators": "hybrid-dip restore measured.png --task linear --operator {text} -o out",
    "networks": _RESTORE + " --network {text}",
    "latents": _RESTORE + " --latent {text}",
    "presets": _RESTORE + " --preset {text}",
    "solvers": _RESTORE + " -R tv@0.05 --solver {text}",
    "stopping": _RESTORE + " --stop {text}",
    "tasks": "hybrid-dip restore photo.png --task {text} -o out",
    "degradations": "hybrid-dip degrade photo.png --task {text} -o degraded.png",
    "metrics": 'metrics = ["{text}"] in a study file',
    "weights": "hybrid-dip weights fetch {text}",
    "commands": "hybrid-dip {text} --help",
}


def _written(value: Any) -> Any:
    """An option's default as it would be written on the command line, or put into JSON."""
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return list(value) if isinstance(value, tuple) else value


def options_of(made_by: Any) -> dict[str, Any]:
    """The options of a class or a function, with their defaults.

    Args:
        made_by: What a name of the catalogue stands for.

    Returns:
        Name -> default, as plain values.
    """
    parameters = inspect.signature(made_by).parameters.values()
    return {p.name: _written(p.default) for p in parameters if p.default is not p.empty and p.name != "out_channels"}


def rows(kind: str) -> list[dict[str, Any]]:
    """All names of a kind.

    Args:
        kind: Of :data:`hybrid_dip.recipes.catalogue.KINDS`.

    Returns:
        One row a name, by family and name: name, summary, source, and where the kind has them family and options; for weights
        where they come from, their licence, size in bytes, and whether they are on this machine; for what needs weights those.

    Raises:
        SettingsError: There is no such kind.
    """
    if kind not in KINDS:
        raise SettingsError(f"There is nothing called '{kind}' to list: {nearest(kind, list(KINDS))}.")
    found = []
    for name, entry in sorted(catalogue().entries(kind).items(), key=lambda item: (item[1].family, item[0])):
        row: dict[str, Any] = {"name": name, "summary": entry.summary, "source": entry.source}
        if kind == "regularisers":
            row["family"] = entry.family
        if kind in WITH_OPTIONS:
            row["options"] = options_of(entry.load())
        if kind == "weights":
            row |= _origin(name)
        elif entry.needs:
            row["weights"] = [{"name": needed, **_origin(needed)} for needed in entry.needs]
        found.append(row)
    return found


def _origin(name: str) -> dict[str, Any]:
    """Where weights come from, and whether they are on this machine; nothing is read or downloaded."""
    found = catalogue().get("weights", name)
    return {"from": found.source, "licence": found.licence, "bytes": found.size, "here": found.here() is not None}


def ready(kind: str, name: str) -> bool:
    """Whether there is such a name, and all weights that it needs by default are on this machine.

    Args:
        kind: Of :data:`hybrid_dip.recipes.catalogue.KINDS`.
        name: Of an entry, or not.

    Returns:
        True where it can be used offline.
    """
    entry = catalogue().entries(kind).get(name)
    return entry is not None and all(_origin(needed)["here"] for needed in entry.needs)


def as_text(listed: list[dict[str, Any]]) -> str:
    """Rows for a terminal, one line each; families as headings.

    Args:
        listed: From :func:`rows`.

    Returns:
        The lines.
    """
    lines, family = [], ""
    width = max((len(row["name"]) for row in listed), default=0) + 2
    for row in listed:
        if row.get("family", "") != family:
            family = row["family"]
            lines.append(f"{family or 'others'}:")
        options = ", ".join(f"{name}={_plain(value)}" for name, value in row.get("options", {}).items())
        weights = "".join(f" [weights {needed['name']}, {_whereabouts(needed)}]" for needed in row.get("weights", []))
        if "here" in row:
            size = f"{row['bytes'] / 1e6:.2g}"
            weights = f", {float(size):g} MB, {_whereabouts(row)}"
        given = f" ({options})" if options else ""
        lines.append(f"{'  ' if family else ''}{row['name']:<{width}}{row['summary']}{given}{weights}")
    return "\n".join(lines)


def _whereabouts(weights: dict[str, Any]) -> str:
    return f"{'on this machine' if weights['here'] else 'NOT on this machine'}, from {weights['from']}"


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def explain(name: str) -> str:
    """What a name stands for: its formula, its source, and how it is written.

    Args:
        name: Of any kind.

    Returns:
        For each kind that has it: the docstring and a usage line.

    Raises:
        SettingsError: No kind has it; the nearest names are given.
    """
    kinds = [kind for kind in KINDS if name in catalogue().entries(kind)]
    if not kinds:
        known = [each for kind in KINDS for each in catalogue().entries(kind)]
        raise SettingsError(f"There is no '{name}' to explain: {nearest(name, sorted(set(known)))}.")
    return "\n\n".join(_explained(kind, name) for kind in kinds)


def _explained(kind: str, name: str) -> str:
    entry = catalogue().entries(kind)[name]
    found = entry.load()
    text = inspect.getdoc(found.func if isinstance(found, partial) else found) or "It has no docstring."
    if kind == "weights":
        text = f"From {found.source}\nLicence: {found.licence}"
    given = options_of(found) if kind in WITH_OPTIONS else {}
    # One option shows the form; that of an image has no default that would do.
    shown = [f"{option}={_plain(value)}" for option, value in given.items() if value not in (None, "", [])][:1]
    options = "image=FILE" if entry.family == "reference" else "".join(shown)
    lines = [f"{name} ({kind}{', ' + entry.family if entry.family else ''}): {entry.summary}", "", text, ""]
    if given:
        lines.append("Defaults: " + ", ".join(f"{option}={_plain(value)}" for option, value in given.items()))
    if kind == "regularisers" and entry.family == "generator":
        lines.append(_ON_NETWORK)
    lines.append("Use: " + _USAGE.get(kind, "{text}").format(text=f"{name}:{options}" if options else name))
    if kind in _PYTHON and isinstance(entry.target, str):
        needed = "image=guide" if entry.family == "reference" else ""
        lines.append("Python: " + _PYTHON[kind].format(object=_dotted(entry.target), given=needed))
    return "\n".join(lines)


def _dotted(target: str) -> str:
    """Where an object is in Python: hd.regularisers.TV, or its full name where ``hd`` does not show its module."""
    module, _, attribute = target.partition(":")
    face = importlib.import_module("hybrid_dip")
    shown = [name for name in face.__all__ if getattr(getattr(face, name), "__name__", "") == module]
    return f"hd.{shown[0]}.{attribute}" if shown else f"{module}.{attribute}"
