"""A sweep of weights: a study of priors at several weights on one degraded image, drawn against the weight."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hybrid_dip.errors import SettingsError
from hybrid_dip.images import figures
from hybrid_dip.images.atomic import write_text
from hybrid_dip.recipes import spec
from hybrid_dip.study.describe.measures import HELD_OUT
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.running.store import Store

WITHOUT = "without"
"""The arm that has none of the swept priors."""

PICTURE = "sweep.png"


@dataclass(frozen=True)
class Point:
    """One prior at one weight.

    Attributes:
        line: The prior with its options, and "balance" where the weight is a balanced one.
        weight: The weight.
        text: SPEC of the prior with this weight.
    """

    line: str
    weight: float
    text: str

    @property
    def arm(self) -> str:
        """Label of the arm in the study."""
        return f"{self.line}@{self.weight:g}"


def points(text: str) -> list[Point]:
    """The points that ``NAME@0.01,0.03,0.1`` or ``NAME@balance=0.1,0.3,1`` stands for.

    Args:
        text: SPEC with one or more weights.

    Returns:
        One point for each weight; none where the text has a single weight or a schedule: it is then a prior of all arms.

    Raises:
        SettingsError: A weight is no number above 0.
    """
    parsed = spec.parse(text)
    kind, equals, values = parsed.weight.rpartition("=")
    if "," not in values or kind not in ("", "balance"):
        return []
    weights: dict[float, str] = {}
    for value in values.split(","):
        try:
            weights[float(value)] = value
        except ValueError:
            raise SettingsError(f"'{value}' in '{text}' is not a number.") from None
    if not min(weights) > 0:
        raise SettingsError(f"The weights of a sweep are numbers above 0, got '{text}'; the fit without is always there.")
    body = text.removesuffix(f"@{parsed.weight}")
    # A label holds no folders.
    plain = {name: Path(value).name if isinstance(value, str) else value for name, value in parsed.options.items()}
    options = ",".join(f"{name}={value}" for name, value in plain.items())
    line = parsed.label + (f":{options}" if options else "") + (f" {kind}" if kind else "")
    return [Point(line, weight, f"{body}@{kind}{equals}{value}") for weight, value in weights.items()]


def sweep_content(
    regularisers: Sequence[str], images: Sequence[Mapping[str, Any]], task: Mapping[str, Any], arm: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Point]]:
    """The study of a sweep.

    Args:
        regularisers: SPECs of priors; those with several weights are swept, each alone, and the others are in every arm.
        images: Images as in a study file, with a reference where there is one.
        task: The task as in a study file.
        arm: What all arms have in common.

    Returns:
        The study's content, without seeds, crop and threads; and the points.

    Raises:
        SettingsError: Nothing is swept, or two lines are the same.
    """
    by_text = {text: points(text) for text in regularisers}
    swept = [point for several in by_text.values() for point in several]
    fixed = [text for text, several in by_text.items() if not several]
    if not swept:
        raise SettingsError("A sweep needs a prior with several weights, as in -R tv@0.01,0.03,0.1.")
    names = [point.arm for point in swept]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"'{name}' is swept twice.")
    arms = [{"name": WITHOUT, **arm, "regularisers": fixed}]
    arms += [{"name": point.arm, **arm, "regularisers": [*fixed, point.text]} for point in swept]
    with_truth = all("reference" in image for image in images)
    metrics = [*(["psnr", "ssim"] if with_truth else []), *([HELD_OUT] if "held_out" in task else [])]
    return {"name": "sweep", "metrics": metrics, "images": [*images], "tasks": [dict(task)], "arms": arms}, swept


def report_sweep(plan: Plan, store: Store, swept: Sequence[Point]) -> dict[str, Any]:
    """Write results.csv and sweep.png.

    Args:
        plan: The sweep's study.
        store: Its folder.
        swept: The points.

    Returns:
        Plain data: for each metric the value without, a row for each point (line, weight, spec, and value, a mean over seeds),
        and the best point, None where none is better than without; and the files.

    Raises:
        StorageError: It cannot be written.
    """
    table = results.write_results(plan, store)
    names = [name for name in results.columns(plan) if name in ("psnr", HELD_OUT)]
    summary: dict[str, Any] = {"metrics": {name: summarise(table, swept, name) for name in names}}
    panels = [_panel(table, swept, name) for name in names]
    with store.writing():
        figures.save_sweep(store.path / PICTURE, panels)
        write_text(store.path / "sweep.json", json.dumps(summary, indent=2))
    return {**summary, "files": [str(store.path / name) for name in ("results.csv", "sweep.json", PICTURE)]}


def _values(table: pd.DataFrame, arm: str, metric: str) -> list[float]:
    rows = table[(table["arm"] == arm) & (table["error"] == "")]
    return [float(value) for value in rows[metric]]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def summarise(table: pd.DataFrame, swept: Sequence[Point], metric: str) -> dict[str, Any]:
    """What a metric says of each point.

    Args:
        table: The finished runs of the sweep.
        swept: The points.
        metric: Column of the table.

    Returns:
        Plain data: the value without, a row for each point, and the best point, None where none is better than without.
    """
    rows: list[dict[str, Any]] = [
        {"line": point.line, "weight": point.weight, "spec": point.text, "value": _mean(_values(table, point.arm, metric))}
        for point in swept
    ]
    known = [row for row in rows if row["value"] is not None]
    best = (min if metric == HELD_OUT else max)(known, key=lambda row: float(row["value"])) if known else None
    without = _mean(_values(table, WITHOUT, metric))
    if best is not None and without is not None:
        gain = float(best["value"]) - without
        best = best if (gain < 0 if metric == HELD_OUT else gain > 0) else None
    return {"without": without, "points": rows, "best": best}


def _panel(table: pd.DataFrame, swept: Sequence[Point], metric: str) -> figures.SweepPanel:
    lines: dict[str, list[tuple[float, list[float]]]] = {}
    for point in swept:
        lines.setdefault(point.line, []).append((point.weight, _values(table, point.arm, metric)))
    title = "error on held-out measurements (grey levels of 255)" if metric == HELD_OUT else "PSNR (dB)"
    return figures.SweepPanel(title, lines, _values(table, WITHOUT, metric), lower_is_better=metric == HELD_OUT)


def sentences(summary: Mapping[str, Any]) -> str:
    """The result for a terminal.

    Args:
        summary: What :func:`report_sweep` gave.

    Returns:
        A table for each metric, with a mark at the best row where it is better than without.
    """
    lines = []
    for metric, result in summary["metrics"].items():
        shown = {"psnr": "PSNR (dB)", HELD_OUT: "held-out error (grey levels of 255)"}[metric]
        width = max(len(row["line"]) for row in result["points"]) + 2
        lines.append(f"{'prior':<{width}}{'weight':>10}  {shown}")
        lines.append(f"{WITHOUT:<{width}}{'':>10}  {_number(result['without'])}")
        for row in result["points"]:
            mark = "  <- best" if row is result["best"] else ""
            lines.append(f"{row['line']:<{width}}{row['weight']:>10g}  {_number(row['value'])}{mark}")
        if result["best"] is None and result["without"] is not None:
            lines.append("No weight is better than the fit without.")
        lines.append("")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "failed" if value is None else f"{value:.2f}"
