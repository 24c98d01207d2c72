"""results.csv and report.md: the numbers with their intervals, and the pictures side by side."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from hybrid_dip import figures, metrics
from hybrid_dip.contracts import Task
from hybrid_dip.estimate import duration
from hybrid_dip.files import write_text
from hybrid_dip.study import results
from hybrid_dip.study.measures import BEST
from hybrid_dip.study.plan import Plan, Run
from hybrid_dip.study.store import OUTPUT, Store

MOST_PICTURES = 6
"""Images shown of each task."""

PICTURES = "pictures"
CURVES = f"{PICTURES}/curves.png"


def write_results(plan: Plan, store: Store) -> pd.DataFrame:
    """Write results.csv.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        The table.

    Raises:
        StorageError: It cannot be written.
    """
    table = results.load(plan, store)
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n", float_format="%.6g")
    with store.writing():
        write_text(store.path / "results.csv", buffer.getvalue())
    return table


def report_study(plan: Plan, store: Store) -> dict[str, Any]:
    """Write results.csv, report.md and the pictures that it shows.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        The report as plain data: name, runs, finished, failed, files, and summary: task, arm, metric, mean, low, high, images,
        runs.

    Raises:
        StorageError: It cannot be written.
    """
    table = write_results(plan, store)
    summary = results.summarise(table, results.columns(plan))
    with store.writing():
        (store.path / PICTURES).mkdir(parents=True, exist_ok=True)
    pictures = _save_pictures(plan, store)
    curves = _save_curves(plan, store, table)
    with store.writing():
        write_text(store.path / "report.md", _markdown(plan, store, table, pictures, curves))
    return {
        "name": plan.study.name,
        "runs": len(plan.runs),
        "finished": len(table),
        "failed": int((table["error"] != "").sum()),
        "summary": [_plain(row) for row in summary.to_dict("records")],
        "files": [str(store.path / name) for name in ("results.csv", "report.md", *pictures.values(), *filter(None, [curves]))],
    }


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if isinstance(value, float) and value != value else value for name, value in row.items()}


def _markdown(plan: Plan, store: Store, table: pd.DataFrame, pictures: Mapping[str, str], curves: str | None) -> str:
    failed = table[table["error"] != ""]
    lines = [f"# {plan.study.name}", ""]
    if len(table) < len(plan.runs):
        lines += [
            f"**Incomplete: {len(table)} of {len(plan.runs)} runs are finished.**",
            "",
        ]
    seeds = ", ".join(str(seed) for seed in plan.study.seeds)
    lines += [
        f"{len(plan.images)} images, {len(plan.tasks)} tasks, {len(plan.arms)} arms, seeds {seeds}: {len(plan.runs)} runs, "
        f"{len(failed)} of them failed; {duration(float(table['seconds'].sum()))} of fitting.",
        "",
        "Each figure is a mean over images, after a mean over seeds, with its 95 % bootstrap interval over images "
        f"({results.RESAMPLES} resamples). Every run, with its error where it failed, is in [results.csv](results.csv).",
        "",
    ]
    for task in plan.tasks:
        case = next(run for run in plan.runs if run.task == task)
        lines += [f"## {task}", "", _protocol(case), "", *task_table(plan, task, table), ""]
        if task in pictures:
            lines += [f"![{task}: degraded, restored by each arm, clean]({pictures[task]})", ""]
    if curves is not None:
        lines += [
            "## Along the fits",
            "",
            "PSNR of the finished image at each logged step (no fit sees it): a line an image, a dot where the image was kept.",
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
    lines += ["## How it was made", "", *_provenance(plan, store), ""]
    return "\n".join(lines)


def task_table(plan: Plan, task: str, table: pd.DataFrame) -> list[str]:
    """What the arms reached on a task; where they have not finished the same images and seeds, on those that all have, too.

    Args:
        plan: The study.
        task: Label.
        table: From :func:`hybrid_dip.study.results.load`.

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
        "| arm | " + " | ".join(_title(name) for name in names) + " | images | runs | steps | time a run |",
        "|---" * (len(names) + 5) + "|",
    ]
    for arm in plan.arms:
        rows = summary[summary["arm"] == arm]
        if rows.empty:
            continue
        runs = own[own["arm"] == arm]
        cells = [_cell(rows[rows["metric"] == name].iloc[0]) for name in names]
        steps = f"{runs['steps'].min()}" + ("" if runs["steps"].nunique() == 1 else f" to {runs['steps'].max()}")
        seconds = duration(float(runs["seconds"].mean()))
        facts = f"{runs['image'].nunique()} | {len(runs)} | {steps} | {seconds}"
        lines.append(f"| {_text(arm)} | " + " | ".join(cells) + f" | {facts} |")
    return lines


def _text(label: str) -> str:
    """As a cell of a table."""
    return label.replace("|", "\\|")


def _title(name: str) -> str:
    if name == BEST:
        return f"{name} (oracle, dB)"
    return _text(f"{name} (dB)" if name.startswith("psnr") else name)


def _cell(row: Any) -> str:
    digits = 2 if row["metric"].startswith("psnr") else 3
    if row["mean"] != row["mean"]:
        return "-"
    spread = "" if row["low"] != row["low"] else f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return f"{row['mean']:.{digits}f}{spread}"


def _protocol(run: Run) -> str:
    """How the images of a task were degraded, in words."""
    entry = run.preparing.entry
    options = ", ".join(f"{name} = {value}" for name, value in entry.options.items()) or "default options"
    protocol = run.preparing.build(run.source).protocol
    said = [f"`{entry.kind}`, {options}", "images degraded already" if entry.observed else ""]
    said += [f"{entry.held_out:.0%} of the measured pixels held out" if entry.held_out else ""]
    said += ["noise clipped to [0, 1]" if protocol.clipped else ""]
    said += [{"pixel": "whole pixels missing", "entry": "single channels missing"}.get(protocol.missing, "")]
    said += [f"made small by {protocol.lowres}" if protocol.lowres else ""]
    said += ["the literature measures it on Y without a border of 4 pixels: `psnr_y`" if protocol.channel == "y" else ""]
    return "; ".join(part for part in said if part) + "."


def _provenance(plan: Plan, store: Store) -> list[str]:
    found = [record for record in store.records(run.key for run in plan.runs).values() if "hardware" in record]
    machines = {
        f"{record['hardware']['device_name']}, {record['hardware']['platform']}, torch {record['hardware']['torch']}, "
        f"Python {record['hardware']['python']}"
        for record in found
    }
    run = plan.runs[0]
    return [
        f"- hybrid_dip {run.config['version']}, device {run.device}, {run.threads} CPU thread(s) a run.",
        *(f"- {machine}" for machine in sorted(machines)),
        f"- The study file is `{plan.study.path.name}`; every run's settings are in `runs/*/run.json`.",
    ]


def _save_pictures(plan: Plan, store: Store) -> dict[str, str]:
    """One picture a task: a row an image, columns degraded, arms, clean; of the first seed."""
    there = store.finished()
    saved = {}
    for number, task in enumerate(plan.tasks, start=1):
        rows = []
        for name in plan.images[:MOST_PICTURES]:
            runs = [
                run
                for run in plan.runs
                if (run.task, run.image, run.seed) == (task, name, plan.study.seeds[0])
                and run.key in there
                and (store.run(run.key) / OUTPUT).exists()
            ]
            if runs:
                rows.append(panels(runs, store))
        if rows:
            file = f"{PICTURES}/{number}-{re.sub(r'[^A-Za-z0-9.=-]+', '-', task)}.png"
            with store.writing():
                figures.save_grid(store.path / file, rows)
            saved[task] = file
    return saved


def _save_curves(plan: Plan, store: Store, table: pd.DataFrame) -> str | None:
    """PSNR along the fits of the images shown, of the first seed."""
    shown = set(plan.images[:MOST_PICTURES])
    panels: dict[str, dict[str, list[figures.Curve]]] = {}
    kept = {(row.image, row.task, row.arm, row.seed): row.kept_at for row in table.itertuples() if not row.error}
    for run in plan.runs:
        cell = (run.image, run.task, run.arm, run.seed)
        if run.seed != plan.study.seeds[0] or run.image not in shown or cell not in kept:
            continue
        rows = [row for row in store.history(run.key) if row["seed"] == run.seed and "psnr" in row]
        if not rows:
            continue
        curve = figures.Curve([row["step"] for row in rows], [row["psnr"] for row in rows], int(kept[cell]))
        panels.setdefault(run.task, {}).setdefault(run.arm, []).append(curve)
    if not panels:
        return None
    with store.writing():
        figures.save_psnr_curves(store.path / CURVES, panels)
    return CURVES


def panels(runs: Sequence[Run], store: Store) -> dict[str, tuple[str, Tensor]]:
    """What the arms made of one image, to be drawn.

    Args:
        runs: Of one task, image and seed, done.
        store: The study's folder.

    Returns:
        Column -> caption and image: degraded (where that is an image), the arms, clean (where it is known).
    """
    subject = runs[0].preparing.build(runs[0].source)
    shown = {}
    reference = subject.reference
    observation = _shown_observation(subject.task)
    if observation is not None:
        shown["degraded"] = (_db(observation, reference), observation)
    for run in runs:
        raw = store.output(run.key)
        image = subject.task.finish(raw)
        shown[run.arm] = (_db(image, reference), image)
    if reference is not None:
        shown["clean"] = (runs[0].image, reference)
    return shown


def _shown_observation(task: Task) -> Tensor | None:
    y = task.observation
    if y.ndim != 4 or y.shape[1] not in (1, task.shape[1]):
        return None
    return y if task.weight is None else y * task.weight


def _db(x: Tensor, reference: Tensor | None) -> str:
    if reference is None or x.shape != reference.shape:
        return ""
    return f"{metrics.psnr(x.clamp(0, 1), reference):.2f} dB"
