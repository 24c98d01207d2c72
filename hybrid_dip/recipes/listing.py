"""The catalogue in words: what `hybrid-dip list` and `hybrid-dip explain` print."""

import importlib
import inspect
from functools import partial
from typing import Any

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.recipes.catalogue import KINDS, Entry, catalogue
from hybrid_dip.recipes.summary import one_line
from hybrid_dip.recipes.written_task import OPTIONS, as_option

WITH_OPTIONS = ("regularisers", "networks", "latents", "solvers", "stopping", "operators")
"""Kinds that are written NAME:option=value."""
OF_IMAGES = ("tasks", "degradations")
"""Kinds whose options are options of the command line."""

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


def _plain(value: Any) -> Any:
    """The default of an option as it is written on the command line, or put into JSON."""
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return list(value) if isinstance(value, tuple) else value


def options_of(maker: Any) -> dict[str, Any]:
    """The options of a class or a function, with their defaults.

    Args:
        maker: What a name of the catalogue stands for.

    Returns:
        Name -> default, as plain values.
    """
    parameters = inspect.signature(maker).parameters.values()
    return {p.name: _plain(p.default) for p in parameters if p.default is not p.empty and p.name != "out_channels"}


def _required_options(factory: Any) -> list[str]:
    """The options of the command line that a task or a degradation cannot do without."""
    _, *parameters = inspect.signature(factory).parameters.values()  # the image comes first
    return [as_option(OPTIONS.get(p.name, p.name)) for p in parameters if p.default is p.empty]


def rows(kind: str) -> list[dict[str, Any]]:
    """List all names of a kind.

    Args:
        kind: One of :data:`hybrid_dip.recipes.catalogue.KINDS`.

    Returns:
        One row for each name, sorted by family and name: name, summary, source, and where the kind has them: family, options,
        required options of the command line, needed weights. Weights have their source, licence, size in bytes, and whether
        they are on this machine.

    Raises:
        SettingsError: There is no such kind.
    """
    if kind not in KINDS:
        raise SettingsError(f"There is nothing called '{kind}' to list: {nearest(kind, list(KINDS))}.")
    entries = sorted(catalogue().entries(kind).values(), key=lambda entry: (entry.family, entry.name))
    return [_row(kind, entry) for entry in entries]


def _row(kind: str, entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "summary": entry.summary, "source": entry.source}
    if kind == "regularisers":
        row["family"] = entry.family
    if kind in WITH_OPTIONS:
        row["options"] = options_of(entry.load())
    if kind in OF_IMAGES:
        row["required"] = _required_options(entry.load())
    if kind == "weights":
        row |= _origin(entry.name)
    elif entry.needs:
        row["weights"] = [{"name": needed, **_origin(needed)} for needed in entry.needs]
    return row


def _origin(name: str) -> dict[str, Any]:
    """Where weights come from, and whether they are on this machine; nothing is read or downloaded."""
    weights = catalogue().get("weights", name)
    return {"from": weights.source, "licence": weights.licence, "bytes": weights.size, "here": weights.here() is not None}


def ready(kind: str, name: str) -> bool:
    """Whether there is such a name, and all weights that it needs with its default options are on this machine.

    Args:
        kind: One of :data:`hybrid_dip.recipes.catalogue.KINDS`.
        name: Name of an entry, or not.

    Returns:
        True where it can be used offline.
    """
    entry = catalogue().find(kind, name)
    return entry is not None and all(_origin(needed)["here"] for needed in entry.needs)


def as_text(listed: list[dict[str, Any]]) -> str:
    """Rows for a terminal, one line for each, under their families.

    Args:
        listed: Rows from :func:`rows`.

    Returns:
        The lines.
    """
    lines, family = [], ""
    width = max((len(row["name"]) for row in listed), default=0) + 2
    for row in listed:
        if row.get("family", "") != family:
            family = row["family"]
            lines.append(f"{family or 'others'}:")
        options = [f"{name}={_text(value)}" for name, value in row.get("options", {}).items()]
        given = ", ".join([*row.get("required", []), *options])
        weights = "".join(f" [weights {needed['name']}, {_whereabouts(needed)}]" for needed in row.get("weights", []))
        if "here" in row:
            size = f"{row['bytes'] / 1e6:.2g}"
            weights = f", {float(size):g} MB, {_whereabouts(row)}"
        indent, options_text = "  " if family else "", f" ({given})" if given else ""
        lines.append(f"{indent}{row['name']:<{width}}{row['summary']}{options_text}{weights}")
    return "\n".join(lines)


def _whereabouts(weights: dict[str, Any]) -> str:
    return f"{'on this machine' if weights['here'] else 'NOT on this machine'}, from {weights['from']}"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def explain(name: str) -> str:
    """What a name stands for: its formula, its source, and how it is written.

    Args:
        name: A name of any kind.

    Returns:
        For each kind that has it: the docstring and a line that shows its use.

    Raises:
        SettingsError: No kind has it; the nearest names are given.
    """
    found = {kind: entry for kind in KINDS if (entry := catalogue().find(kind, name)) is not None}
    if not found:
        known = [each for kind in KINDS for each in catalogue().entries(kind)]
        raise SettingsError(f"There is no '{name}' to explain: {nearest(name, sorted(set(known)))}.")
    return "\n\n".join(_explanation(kind, entry) for kind, entry in found.items())


def _explanation(kind: str, entry: Entry) -> str:
    part = entry.load()
    text = f"From {part.source}\nLicence: {part.licence}" if kind == "weights" else _details(part, entry.summary)
    options = options_of(part) if kind in WITH_OPTIONS else {}
    # One option shows the form; an option that is an image has no default to show.
    shown = [f"{option}={_text(value)}" for option, value in options.items() if value not in (None, "", [])][:1]
    example = "image=FILE" if entry.family == "reference" else "".join(shown)
    lines = [f"{entry.name} ({kind}{', ' + entry.family if entry.family else ''}): {entry.summary}", ""]
    if text:
        lines += [text, ""]
    if options:
        lines.append("Defaults: " + ", ".join(f"{option}={_text(value)}" for option, value in options.items()))
    if kind == "regularisers" and entry.family == "generator":
        lines.append(_ON_NETWORK)
    lines.append("Use: " + _USAGE.get(kind, "{text}").format(text=f"{entry.name}:{example}" if example else entry.name))
    if kind in _PYTHON and isinstance(entry.target, str):
        needed = "image=guide" if entry.family == "reference" else ""
        lines.append("Python: " + _PYTHON[kind].format(object=_python_name(entry.target), given=needed))
    return "\n".join(lines)


def _details(part: Any, summary: str) -> str:
    """The docstring, without its first paragraph where that is the summary."""
    text = inspect.getdoc(part.func if isinstance(part, partial) else part) or ""
    first, _, rest = text.partition("\n\n")
    return rest if one_line(first) == summary else text


def _python_name(target: str) -> str:
    """Where an object is in Python: hd.regularisers.TV, or its full name where ``hd`` does not show its module."""
    module, _, attribute = target.partition(":")
    face = importlib.import_module("hybrid_dip")
    shown = [name for name in face.__all__ if getattr(getattr(face, name), "__name__", "") == module]
    return f"hd.{shown[0]}.{attribute}" if shown else f"{module}.{attribute}"
