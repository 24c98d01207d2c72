"""The tables of the page, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hybrid_dip.restoring.estimate import duration
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.numbers import direction, interval_text, number, title
from hybrid_dip.study.reporting.page.pictures import as_url
from hybrid_dip.study.reporting.statistics import ABOUT_INTERVALS, FEWEST, Comparison


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What is shown.
        value: What the table is sorted by; None sorts by the text, "" is a number that is missing.
        more: What is shown in small print.
        best: Whether it is the best of its column or row.
    """

    text: str
    value: float | str | None = None
    more: str = ""
    best: bool = False


def leaderboard(plan: Plan, table: pd.DataFrame, task: str) -> dict[str, Any]:
    """Means over images of all arms on a task, and differences from the baseline."""
    names, baseline = results.columns(plan), results.baseline_of(plan)
    own = table[(table["task"] == task) & (table["error"] == "")]
    summary = results.summarise(own, names).set_index(["arm", "metric"])
    versus = results.compare_with_baseline(plan, table, task, names[0])
    best = {}
    for name in names:
        means = {arm: direction(name) * summary.loc[(arm, name), "mean"] for arm in plan.arms if (arm, name) in summary.index}
        known = {arm: mean for arm, mean in means.items() if mean == mean}
        best[name] = max(known, key=known.__getitem__) if known and direction(name) else None
    rows = []
    for arm in plan.arms:
        runs = own[own["arm"] == arm]
        if runs.empty:
            continue
        row = [Cell(arm)]
        for name in names:
            mean, low, high = summary.loc[(arm, name), ["mean", "low", "high"]]
            row.append(Cell(number(mean, name), _sorted_by(mean), interval_text(low, high, name), arm == best[name]))
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


def _versus(comparison: Comparison | None, metric: str, is_baseline: bool) -> list[Cell]:
    if comparison is None:
        return [Cell("baseline" if is_baseline else "-", 0.0 if is_baseline else ""), Cell("", "")]
    mean, p = comparison.mean, comparison.p
    spread = interval_text(comparison.low, comparison.high, metric, "+")
    difference = Cell(number(mean, metric, "+"), _sorted_by(mean), spread)
    return [difference, Cell("no test", "") if p is None else Cell(f"{p:.3f}", p)]


def explanation(plan: Plan, table: pd.DataFrame, task: str) -> str:
    """What the intervals and the tests are."""
    versus = results.compare_with_baseline(plan, table, task, results.columns(plan)[0])
    tested = [one for one in versus.values() if one.p is not None]
    text = (
        f"Each figure is a mean over images, after a mean over seeds, with its {ABOUT_INTERVALS}; differences "
        f"are taken image by image from '{results.baseline_of(plan)}'. "
    )
    fewest = min((one.images for one in versus.values()), default=len(plan.images))
    if tested:
        text += f"p: Wilcoxon's signed-rank test, two-sided, corrected by Holm over the {len(tested)} arms tested. "
    if fewest < FEWEST:
        text += f"With {fewest} image{'s' * (fewest != 1)} no test is possible: it takes at least {FEWEST}. "
    return text.strip()


def table_of_images(plan: Plan, table: pd.DataFrame, task: str, metric: str) -> dict[str, Any]:
    """A metric of each image and arm on a task.

    Args:
        plan: The study.
        table: Its finished runs.
        task: Label of the task.
        metric: Column of the results.

    Returns:
        The table.
    """
    own = table[(table["task"] == task) & (table["error"] == "")]
    wide = own.pivot_table(index="image", columns="arm", values=metric, sort=False)
    arms = [arm for arm in plan.arms if arm in wide]
    rows = []
    for image in plan.images:
        if image not in wide.index:
            continue
        values = wide.loc[image, arms]
        best = (direction(metric) * values).max() if direction(metric) else None
        row = [Cell(number(v, metric), _sorted_by(v), best=direction(metric) * v == best) for v in values]
        rows.append([Cell(image), *row])
    return {"name": f"images {task} {metric}", "title": title(metric), "titles": ["image", *arms], "rows": rows}


def table_of_failures(failed: pd.DataFrame) -> dict[str, Any]:
    """The runs that failed, with their errors."""
    titles = ["image", "task", "arm", "seed", "error"]
    return {
        "name": "failed",
        "titles": titles,
        "rows": [[Cell(str(row[name])) for name in titles] for _, row in failed.iterrows()],
    }


def table_of_attribution(attribution: Mapping[str, Any]) -> dict[str, Any]:
    """What each prior brought on each task, with the waterfall."""
    first = next(iter(attribution["tasks"].values()))
    priors, pairs = list(first["shapley_db"]), list(first["interactions_db"])
    rows = []
    for task, own in attribution["tasks"].items():
        values = [own["none_db"], *own["shapley_db"].values(), own["total_interval_db"], *own["interactions_db"].values()]
        signs = ["", *["+"] * (len(values) - 1)]
        row = [Cell(task)]
        for value, sign in zip(values, signs, strict=True):
            spread = "" if value["low"] is None else f"[{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"
            row.append(Cell(f"{value['mean']:{sign}.2f}", value["mean"], spread))
        rows.append(row)
    titles = ["task", "no prior (dB)", *priors, "all", *pairs]
    picture = next(file for file in attribution["files"] if file.endswith(".png"))
    sentences = ["A pair's interaction is above 0 where two bring more together than each alone.", *attribution["notes"]]
    return {
        "name": "attribution",
        "titles": titles,
        "rows": rows,
        "picture": as_url(Path(picture).read_bytes()),
        "said": " ".join(sentences),
    }
