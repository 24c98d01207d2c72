"""The report of a study: results.csv, report.html and report.md with the numbers, their intervals, and the pictures."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from torch import Tensor

from hybrid_dip import figures, metrics
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.estimate import duration
from hybrid_dip.files import write_text
from hybrid_dip.study import results
from hybrid_dip.study.attribution import attribute_study
from hybrid_dip.study.latex import latex_table
from hybrid_dip.study.measures import BEST
from hybrid_dip.study.page import page_content, render
from hybrid_dip.study.plan import Plan, Run
from hybrid_dip.study.statistics import RESAMPLES
from hybrid_dip.study.store import Store

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
    """Write report.html, results.csv, results.tex, report.md and the pictures that it shows.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        The report as plain data: name, runs, finished, failed, notes, files, summary (task, arm, metric, mean, low, high,
        images, runs), against (task, arm, baseline, metric, mean, low, high, images, p: differences from the baseline arm), and
        where the study has an [attribution] that one.

    Raises:
        SettingsError: The study measures nothing.
        StorageError: It cannot be written, or a run's folder is damaged.
    """
    if not plan.study.metrics:
        raise SettingsError(f"{plan.study.path} measures nothing, so there is nothing to report: name some 'metrics'.")
    table = write_results(plan, store)
    notes = _notes(plan, store, table)
    attribution = None
    if plan.study.attribution is not None:
        try:
            attribution = attribute_study(plan, store, table)
        except SettingsError as error:  # half a study has a report, too
            notes.append(str(error))
    with store.writing():
        (store.path / PICTURES).mkdir(parents=True, exist_ok=True)
    shown = pictures_of(plan, store)
    curves = curves_of(plan, store, table)
    pictures = _save_pictures(store, shown)
    lines = _save_curves(store, curves)
    protocols = {task: _protocol(next(run for run in plan.runs if run.task == task)) for task in plan.tasks}
    provenance = _provenance(plan, store)
    maps = maps_of(plan, store)
    content, data = page_content(plan, table, shown, curves, maps, protocols, provenance, notes, attribution)
    with store.writing():
        write_text(store.path / "report.html", render(content, data))
        write_text(store.path / "results.tex", latex_table(plan, table))
        write_text(store.path / "report.md", _markdown(plan, table, pictures, lines, protocols, provenance, notes))
    made = ("report.html", "results.csv", "results.tex", "report.md", *pictures.values(), *filter(None, [lines]))
    return {
        "name": plan.study.name,
        "runs": len(plan.runs),
        "finished": len(table),
        "failed": int((table["error"] != "").sum()),
        "notes": notes,
        "summary": [_plain(row) for row in results.summarise(table, results.columns(plan)).to_dict("records")],
        "against": [_plain(row) for row in _differences(plan, table)],
        **({} if attribution is None else {"attribution": attribution}),
        "files": [str(store.path / name) for name in made],
    }


def _notes(plan: Plan, store: Store, table: pd.DataFrame) -> list[str]:
    """What a reader should know before anything else."""
    notes = []
    if len(table) < len(plan.runs):
        notes.append(f"Incomplete: {len(table)} of {len(plan.runs)} runs are finished.")
    missing = [arm for arm in plan.arms if arm not in set(table["arm"])]
    if missing:
        notes.append(f"Not a run is finished of: {', '.join(missing)}.")
    return [*notes, *filter(None, [results.strangers(plan, store)])]


def _differences(plan: Plan, table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"task": task, "arm": arm, "baseline": results.baseline_of(plan), "metric": metric, **asdict(found)}
        for task in plan.tasks
        for metric in results.columns(plan)
        for arm, found in results.against(plan, table, task, metric).items()
    ]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if isinstance(value, float) and value != value else value for name, value in row.items()}


def _markdown(
    plan: Plan,
    table: pd.DataFrame,
    pictures: Mapping[str, str],
    curves: str | None,
    protocols: Mapping[str, str],
    provenance: Sequence[str],
    notes: Sequence[str],
) -> str:
    failed = table[table["error"] != ""]
    lines = [f"# {plan.study.name}", ""]
    for note in notes:
        lines += [f"**{note}**", ""]
    seeds = ", ".join(str(seed) for seed in plan.study.seeds)
    lines += [
        f"{len(plan.images)} images, {len(plan.tasks)} tasks, {len(plan.arms)} arms, seeds {seeds}: {len(plan.runs)} runs, "
        f"{len(failed)} of them failed; {duration(float(table['seconds'].sum()))} of fitting.",
        "",
        "Each figure is a mean over images, after a mean over seeds, with its 95 % bootstrap interval over images "
        f"({RESAMPLES} resamples). Every run, with its error where it failed, is in [results.csv](results.csv).",
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
    lines += ["## How it was made", "", *(f"- {line}" for line in provenance), ""]
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
        f"hybrid_dip {run.config['version']}, device {run.device}, {run.threads} CPU thread(s) a run.",
        *sorted(machines),
        f"The study file is `{plan.study.path.name}`; every run's settings are in `runs/*/run.json`.",
    ]


Pictures = Mapping[str, Mapping[str, Mapping[str, tuple[str, Tensor]]]]
"""Task -> image -> column -> caption and (1, C, H, W)."""


def pictures_of(plan: Plan, store: Store) -> Pictures:
    """What the arms made of the first images, with the first seed.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        Task -> image -> what :func:`panels` gives; without those of which no arm is finished.
    """
    there = store.finished()
    found: dict[str, dict[str, Mapping[str, tuple[str, Tensor]]]] = {}
    for task in plan.tasks:
        for image in plan.images[:MOST_PICTURES]:
            cell = (task, image, plan.study.seeds[0])
            runs = [run for run in plan.runs if (run.task, run.image, run.seed) == cell and run.key in there]
            good = [run for run in runs if not (store.record(run.key) or {}).get("error", "")]
            if good:
                found.setdefault(task, {})[image] = panels(good, store)
    return found


def _save_pictures(store: Store, shown: Pictures) -> dict[str, str]:
    """One picture a task: a row an image, columns degraded, arms, clean."""
    saved = {}
    for number, (task, rows) in enumerate(shown.items(), start=1):
        file = f"{PICTURES}/{number}-{re.sub(r'[^A-Za-z0-9.=-]+', '-', task)}.png"
        with store.writing():
            figures.save_grid(store.path / file, list(rows.values()))
        saved[task] = file
    return saved


Curves = Mapping[str, Mapping[str, Mapping[str, figures.Curve]]]
"""Task -> image -> arm -> PSNR along the fit."""


def curves_of(plan: Plan, store: Store, table: pd.DataFrame) -> Curves:
    """PSNR along the fits of the first images, with the first seed.

    Args:
        plan: The study.
        store: Its folder.
        table: Its finished runs.

    Returns:
        The curves; without those of arms that are no fit.
    """
    shown = set(plan.images[:MOST_PICTURES])
    found: dict[str, dict[str, dict[str, figures.Curve]]] = {}
    kept = {(row.image, row.task, row.arm, row.seed): row.kept_at for row in table.itertuples() if not row.error}
    for run in plan.runs:
        cell = (run.image, run.task, run.arm, run.seed)
        if run.seed != plan.study.seeds[0] or run.image not in shown or cell not in kept:
            continue
        history = store.history(run.key)
        rows = [row for row in history if row["seed"] == history[0]["seed"] and "psnr" in row]
        if len(rows) > 1:
            curve = figures.Curve([row["step"] for row in rows], [row["psnr"] for row in rows], int(kept[cell]))
            found.setdefault(run.task, {}).setdefault(run.image, {})[run.arm] = curve
    return found


def maps_of(plan: Plan, store: Store) -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, Tensor]]]]:
    """The weights of stacks as maps, of the images shown, with the first seed.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        Task -> image -> arm -> arm of the stack -> (1, 1, H, W); without those that have one weight an image.
    """
    found: dict[str, dict[str, dict[str, Mapping[str, Tensor]]]] = {}
    for run in plan.runs:
        if run.seed != plan.study.seeds[0] or run.image not in plan.images[:MOST_PICTURES]:
            continue
        weights: Mapping[str, float] = (store.record(run.key) or {}).get("weights", {})
        maps = store.weights(run.key) if weights else None
        if maps is not None:
            named = dict(zip(weights, (one[None, None] for one in maps), strict=True))
            found.setdefault(run.task, {}).setdefault(run.image, {})[run.arm] = named
    return found


def _save_curves(store: Store, curves: Curves) -> str | None:
    if not curves:
        return None
    panels: dict[str, dict[str, list[figures.Curve]]] = {}
    for task, images in curves.items():
        for arms in images.values():
            for arm, curve in arms.items():
                panels.setdefault(task, {}).setdefault(arm, []).append(curve)
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
