"""report.md: the tables of a study, to be read beside the code."""

from collections.abc import Mapping, Sequence

import pandas as pd

from hybrid_dip.restoring.estimate import duration
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.numbers import interval_text, number, title
from hybrid_dip.study.reporting.statistics import ABOUT_INTERVALS


def as_markdown(
    plan: Plan,
    table: pd.DataFrame,
    pictures: Mapping[str, str],
    curves: str | None,
    protocols: Mapping[str, str],
    provenance: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The report in Markdown.

    Args:
        plan: The study.
        table: Its finished runs.
        pictures: Task -> file of its pictures.
        curves: File of the curves; None where there are none.
        protocols: Task -> how the images were degraded.
        provenance: Versions and machines.
        notes: What the reader should know first.

    Returns:
        Markdown.
    """
    failed = table[table["error"] != ""]
    lines = [f"# {plan.study.name}", ""]
    for note in notes:
        lines += [f"**{note}**", ""]
    seeds = ", ".join(str(seed) for seed in plan.study.seeds)
    lines += [
        f"{len(plan.images)} images, {len(plan.tasks)} tasks, {len(plan.arms)} arms, seeds {seeds}: {len(plan.runs)} runs, "
        f"{len(failed)} of them failed; {duration(results.seconds(plan, table))} of fitting.",
        "",
        f"Each figure is a mean over images, after a mean over seeds, with its {ABOUT_INTERVALS}. "
        "Every run, with its error where it failed, is in [results.csv](results.csv).",
        "",
    ]
    for task in plan.tasks:
        lines += [f"## {task}", "", protocols[task], "", *task_table(plan, task, table), ""]
        if task in pictures:
            lines += [f"![{task}: degraded, restored by each arm, clean]({pictures[task]})", ""]
    if curves is not None:
        lines += [
            "## Along the fits",
            "",
            "PSNR of the finished image at each logged step (no fit sees it): a line for each image, a dot where it was kept.",
            "",
            f"![PSNR against the step]({curves})",
            "",
        ]
    if len(failed):
        lines += ["## Failed", "", "| image | task | arm | seed | error |", "|---|---|---|---|---|"]
        for row in failed.itertuples():
            cells = [str(cell) for cell in (row.image, row.task, row.arm, row.seed, row.error)]
            lines.append("| " + " | ".join(map(_text, cells)) + " |")
        lines.append("")
    lines += ["## How it was made", "", *(f"- {line}" for line in provenance), ""]
    return "\n".join(lines)


def task_table(plan: Plan, task: str, table: pd.DataFrame) -> list[str]:
    """What the arms reached on a task; and on the images and seeds that all have finished, where these are not all.

    Args:
        plan: The study.
        task: Label of the task.
        table: Its finished runs.

    Returns:
        Lines of Markdown.
    """
    own = table[(table["task"] == task) & (table["error"] == "")]
    if own.empty:
        return ["No run is finished well."]
    lines = _rows(plan, own)
    cells = [set(zip(arm["image"], arm["seed"], strict=True)) for _, arm in own.groupby("arm")]
    if len({frozenset(cell) for cell in cells}) > 1:
        common = set.intersection(*cells)
        lines += ["", "**These arms have not finished the same images and seeds**; do not compare them."]
        if common:
            shared = own[[cell in common for cell in zip(own["image"], own["seed"], strict=True)]]
            lines[-1] = "**These arms have not finished the same images and seeds**; on those that all have:"
            lines += ["", *_rows(plan, shared)]
    return lines


def _rows(plan: Plan, own: pd.DataFrame) -> list[str]:
    names = results.columns(plan)
    summary = results.summarise(own, names)
    lines = [
        "| arm | " + " | ".join(_text(title(name)) for name in names) + " | images | runs | steps | time a run |",
        "|---" * (len(names) + 5) + "|",
    ]
    for arm in plan.arms:
        rows = summary[summary["arm"] == arm]
        if rows.empty:
            continue
        runs = own[own["arm"] == arm]
        values = [rows[rows["metric"] == name].iloc[0] for name in names]
        cells = [_cell(row, name) for name, row in zip(names, values, strict=True)]
        steps = f"{runs['steps'].min()}" + ("" if runs["steps"].nunique() == 1 else f" to {runs['steps'].max()}")
        seconds = duration(float(runs["seconds"].mean()))
        facts = f"{runs['image'].nunique()} | {len(runs)} | {steps} | {seconds}"
        lines.append(f"| {_text(arm)} | " + " | ".join(cells) + f" | {facts} |")
    return lines


def _text(label: str) -> str:
    """A label as a cell of a table."""
    return label.replace("|", "\\|")


def _cell(row: pd.Series, metric: str) -> str:
    return f"{number(row['mean'], metric)} {interval_text(row['low'], row['high'], metric)}".rstrip()
