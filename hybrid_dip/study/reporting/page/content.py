"""What the page shows, as plain data: tables of cells, pictures as PNG in base64, curves as numbers."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from hybrid_dip.images.figures import Curve, visible_channels
from hybrid_dip.images.files import quantise
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.restoring.estimate import duration
from hybrid_dip.study.describe.measures import BEST, HELD_OUT, RAW
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.statistics import FEWEST, Comparison

MOST_POINTS = 160
"""Of a curve."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: As shown.
        value: By which the table is sorted; None sorts by the text, "" is a number that is missing.
        more: In small print.
        best: Whether it is the best of its column or row.
    """

    text: str
    value: float | str | None = None
    more: str = ""
    best: bool = False


def page_content(
    plan: Plan,
    table: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, Mapping[str, tuple[str, Tensor]]]],
    curves: Mapping[str, Mapping[str, Mapping[str, Curve]]],
    maps: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Tensor]]]],
    protocols: Mapping[str, str],
    provenance: Sequence[str],
    notes: Sequence[str],
    attribution: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything on the page.

    Args:
        plan: The study.
        table: Its finished runs.
        pictures: Task -> image -> arm, "degraded" or "clean" -> caption and (1, C, H, W).
        curves: Task -> image -> arm -> PSNR along the fit.
        maps: Task -> image -> arm -> arm of its stack -> the weight of each pixel, (1, 1, H, W).
        protocols: Task -> how the images were degraded.
        provenance: Versions and machines.
        notes: What the reader should know first.
        attribution: Of :func:`hybrid_dip.study.reporting.attribution.attribute_study`, or None.

    Returns:
        What the template shows, and what the script draws.
    """
    shown = [task for task in plan.tasks if pictures.get(task)]
    failed = table[table["error"] != ""]
    seeds = ", ".join(str(seed) for seed in plan.study.seeds)
    content = {
        "name": plan.study.name,
        "summary": f"{len(plan.images)} images, {len(plan.tasks)} tasks, {len(plan.arms)} arms, seeds {seeds}: "
        f"{len(table)} of {len(plan.runs)} runs are finished, {len(failed)} of them failed; "
        f"{duration(results.seconds(plan, table))} of fitting.",
        "notes": list(notes),
        "tasks": [
            {
                "name": task,
                "protocol": _plainly(protocols[task]),
                "number": shown.index(task) if task in shown else None,
                "board": _board(plan, table, task),
                "said": _said(plan, table, task),
                "images": [_each_image(plan, table, task, name) for name in results.columns(plan)],
            }
            for task in plan.tasks
        ],
        "attribution": None if attribution is None else _attribution(attribution),
        "failed": _failures(failed) if len(failed) else None,
        "provenance": [_plainly(line) for line in provenance],
        "settings": plan.study.path.read_text("utf-8") if plan.study.path.is_file() else "",
    }
    data = {
        "arms": plan.arms,
        "tasks": [
            {
                "name": task,
                "images": [
                    {
                        "name": image,
                        "pictures": [
                            {"arm": arm, "caption": caption, "src": as_png(x)} for arm, (caption, x) in columns.items()
                        ],
                        "curves": {arm: _points(curve) for arm, curve in curves.get(task, {}).get(image, {}).items()},
                        "maps": [
                            {"arm": f"{arm}: weight of {name}", "caption": f"{float(weight.mean()):.2f}", "src": as_png(weight)}
                            for arm, weights in maps.get(task, {}).get(image, {}).items()
                            for name, weight in weights.items()
                        ],
                    }
                    for image, columns in pictures[task].items()
                ],
            }
            for task in shown
        ],
    }
    return content, data


def _plainly(markdown: str) -> str:
    return markdown.replace("`", "")


def as_png(x: Tensor) -> str:
    """An image as a data URL.

    Args:
        x: (1, C, H, W) in [0, 1].

    Returns:
        "data:image/png;base64,...".
    """
    values = quantise(visible_channels(x))
    buffer = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(buffer, "PNG", optimize=True)
    return _url(buffer.getvalue())


def _url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _points(curve: Curve) -> dict[str, Any]:
    """A curve with so many points as a screen shows."""
    chosen = np.unique(np.linspace(0, len(curve.steps) - 1, MOST_POINTS).round().astype(int))
    known = [i for i in chosen if np.isfinite(curve.psnr[i])]
    return {
        "steps": [int(curve.steps[i]) for i in known],
        "psnr": [round(float(curve.psnr[i]), 3) for i in known],
        "kept": curve.kept_at,
    }


def number(value: float, metric: str, sign: str = "") -> str:
    """A metric's value as text: two digits for dB, three for the rest.

    Args:
        value: May be NaN.
        metric: Column.
        sign: "+" shows the sign always.

    Returns:
        Text.
    """
    return "-" if value != value else f"{value:{sign}.{2 if metric.startswith('psnr') else 3}f}"


def title(metric: str) -> str:
    """A metric as a column's title."""
    oracle = " (oracle, dB)" if metric == BEST else " (dB)" if metric.startswith("psnr") else ""
    return f"{metric}{oracle}"


def better(metric: str) -> float:
    """1 where more is better, -1 where less is, 0 where nobody says."""
    name = metric.partition(":")[0].removesuffix(RAW)
    known = catalogue().entries("metrics")
    if metric == HELD_OUT or (name in known and "lower is better" in known[name].summary):
        return -1.0
    return 1.0 if metric == BEST or name in known else 0.0


def _range(low: float, high: float, metric: str, sign: str = "") -> str:
    return "" if low != low else f"[{number(low, metric, sign)}, {number(high, metric, sign)}]"


def _board(plan: Plan, table: pd.DataFrame, task: str) -> dict[str, Any]:
    """The leaderboard of a task."""
    names, baseline = results.columns(plan), results.baseline_of(plan)
    own = table[(table["task"] == task) & (table["error"] == "")]
    summary = results.summarise(own, names).set_index(["arm", "metric"])
    versus = results.against(plan, table, task, names[0])
    best = {}
    for name in names:
        means = {arm: better(name) * summary.loc[(arm, name), "mean"] for arm in plan.arms if (arm, name) in summary.index}
        known = {arm: mean for arm, mean in means.items() if mean == mean}
        best[name] = max(known, key=known.__getitem__) if known and better(name) else None
    rows = []
    for arm in plan.arms:
        runs = own[own["arm"] == arm]
        if runs.empty:
            continue
        row = [Cell(arm)]
        for name in names:
            found = summary.loc[(arm, name)]
            spread = _range(found["low"], found["high"], name)
            row.append(Cell(number(found["mean"], name), _sorted_by(found["mean"]), spread, arm == best[name]))
        row += _versus(versus.get(arm), names[0], arm == baseline)
        row += [Cell(str(runs["image"].nunique()), runs["image"].nunique()), Cell(str(len(runs)), len(runs))]
        steps = f"{runs['steps'].min()}" + ("" if runs["steps"].nunique() == 1 else f" to {runs['steps'].max()}")
        row += [Cell(steps, float(runs["steps"].mean()))]
        row += [Cell(duration(float(runs["seconds"].mean())), float(runs["seconds"].mean()))]
        rows.append(row)
    titles = ["arm", *map(title, names), f"{names[0]} minus {baseline}", "p", "images", "runs", "steps", "time a run"]
    return {"name": f"board {task}", "titles": titles, "rows": rows}


def _sorted_by(value: float) -> float | str:
    return "" if value != value else float(value)


def _versus(found: Comparison | None, metric: str, is_baseline: bool) -> list[Cell]:
    if found is None:
        return [Cell("baseline" if is_baseline else "-", 0.0 if is_baseline else ""), Cell("", "")]
    difference = Cell(number(found.mean, metric, "+"), _sorted_by(found.mean), _range(found.low, found.high, metric, "+"))
    return [difference, Cell("no test", "") if found.p is None else Cell(f"{found.p:.3f}", found.p)]


def _said(plan: Plan, table: pd.DataFrame, task: str) -> str:
    """What the intervals and the tests are."""
    versus = results.against(plan, table, task, results.columns(plan)[0])
    tested = [found for found in versus.values() if found.p is not None]
    said = (
        "Each figure is a mean over images, after a mean over seeds, with its 95 % bootstrap interval over images; differences "
        f"are taken image by image from '{results.baseline_of(plan)}'. "
    )
    fewest = min((found.images for found in versus.values()), default=len(plan.images))
    if tested:
        said += f"p: Wilcoxon's signed-rank test, two-sided, corrected by Holm over the {len(tested)} arms tested. "
    if fewest < FEWEST:
        said += f"With {fewest} image{'s' * (fewest != 1)} no test is possible: it takes at least {FEWEST}. "
    return said.strip()


def _each_image(plan: Plan, table: pd.DataFrame, task: str, metric: str) -> dict[str, Any]:
    own = table[(table["task"] == task) & (table["error"] == "")]
    wide = own.pivot_table(index="image", columns="arm", values=metric, sort=False)
    arms = [arm for arm in plan.arms if arm in wide]
    rows = []
    for image in plan.images:
        if image not in wide.index:
            continue
        values = wide.loc[image, arms]
        best = (better(metric) * values).max() if better(metric) else None
        row = [Cell(number(v, metric), _sorted_by(v), best=better(metric) * v == best) for v in values]
        rows.append([Cell(image), *row])
    return {"name": f"images {task} {metric}", "title": title(metric), "titles": ["image", *arms], "rows": rows}


def _failures(failed: pd.DataFrame) -> dict[str, Any]:
    titles = ["image", "task", "arm", "seed", "error"]
    return {
        "name": "failed",
        "titles": titles,
        "rows": [[Cell(str(row[name])) for name in titles] for _, row in failed.iterrows()],
    }


def _attribution(found: Mapping[str, Any]) -> dict[str, Any]:
    first = next(iter(found["tasks"].values()))
    priors, pairs = list(first["shapley_db"]), list(first["interactions_db"])
    rows = []
    for task, own in found["tasks"].items():
        values = [own["none_db"], *own["shapley_db"].values(), own["total_interval_db"], *own["interactions_db"].values()]
        signs = ["", *["+"] * (len(values) - 1)]
        row = [Cell(task)]
        for value, sign in zip(values, signs, strict=True):
            spread = "" if value["low"] is None else f"[{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"
            row.append(Cell(f"{value['mean']:{sign}.2f}", value["mean"], spread))
        rows.append(row)
    titles = ["task", "no prior (dB)", *priors, "all", *pairs]
    picture = next(file for file in found["files"] if file.endswith(".png"))
    said = ["A pair's interaction is above 0 where two bring more together than each by itself.", *found["notes"]]
    return {
        "name": "attribution",
        "titles": titles,
        "rows": rows,
        "picture": _url(Path(picture).read_bytes()),
        "said": " ".join(said),
    }
