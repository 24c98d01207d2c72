"""The report of a study: report.html, report.md and results.csv, with the numbers, their intervals and the pictures."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from hybrid_dip.errors import SettingsError
from hybrid_dip.images import figures
from hybrid_dip.images.atomic import write_text
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.attribution import attribute_study
from hybrid_dip.study.reporting.gallery import Curves, Pictures, gallery_of
from hybrid_dip.study.reporting.latex import latex_table
from hybrid_dip.study.reporting.markdown import as_markdown
from hybrid_dip.study.reporting.page.content import page_content
from hybrid_dip.study.reporting.page.render import render
from hybrid_dip.study.running.store import Store

PICTURES = "pictures"
CURVES = f"{PICTURES}/curves.png"


def report_study(plan: Plan, store: Store) -> dict[str, Any]:
    """Write report.html, results.csv, results.tex, report.md and the pictures that it shows.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        The report as plain data: name, runs, finished, failed, notes, files; summary (task, arm, metric, mean, low, high,
        images, runs); against, the differences from the baseline arm (task, arm, baseline, metric, mean, low, high, images, p);
        and the attribution, where the study has one.

    Raises:
        SettingsError: The study measures nothing.
        StorageError: It cannot be written, or a run's folder is damaged.
    """
    if not plan.study.metrics:
        raise SettingsError(f"{plan.study.path} measures nothing, so there is nothing to report: name some 'metrics'.")
    table = results.write_results(plan, store)
    notes = _notes(plan, store, table)
    attribution = None
    if plan.study.attribution is not None:
        try:
            attribution = attribute_study(plan, store, table)
        except SettingsError as error:  # half a study has a report as well
            notes.append(str(error))
    with store.writing():
        (store.path / PICTURES).mkdir(parents=True, exist_ok=True)
    gallery = gallery_of(plan, store, table)
    pictures = _save_pictures(store, gallery.pictures)
    curves = _save_curves(store, gallery.curves)
    protocols = {task: _protocol(next(run for run in plan.runs if run.task == task)) for task in plan.tasks}
    provenance = _provenance(plan, store)
    content, data = page_content(plan, table, gallery, protocols, provenance, notes, attribution)
    with store.writing():
        write_text(store.path / "report.html", render(content, data))
        write_text(store.path / "results.tex", latex_table(plan, table))
        write_text(store.path / "report.md", as_markdown(plan, table, pictures, curves, protocols, provenance, notes))
    made = ("report.html", "results.csv", "results.tex", "report.md", *pictures.values(), *filter(None, [curves]))
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
    return [*notes, *filter(None, [results.sentence_on_other_runs(plan, store)])]


def _differences(plan: Plan, table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"task": task, "arm": arm, "baseline": results.baseline_of(plan), "metric": metric, **asdict(comparison)}
        for task in plan.tasks
        for metric in results.columns(plan)
        for arm, comparison in results.compare_with_baseline(plan, table, task, metric).items()
    ]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if isinstance(value, float) and value != value else value for name, value in row.items()}


def _protocol(run: Run) -> str:
    """How the images of a task were degraded, in words."""
    entry = run.preparation.entry
    options = ", ".join(f"{name} = {value}" for name, value in entry.options.items()) or "default options"
    protocol = run.preparation.build(run.source).protocol
    said = [f"`{entry.kind}`, {options}", "images degraded already" if entry.observed else ""]
    said += [f"{entry.held_out:.0%} of the measured pixels held out" if entry.held_out else ""]
    said += ["noise clipped to [0, 1]" if protocol.clipped else ""]
    said += [{"pixel": "whole pixels missing", "entry": "single channels missing"}.get(protocol.missing, "")]
    said += [f"made small by {protocol.lowres}" if protocol.lowres else ""]
    border = f"the literature measures it on Y without a border of {protocol.border} pixels: `psnr_y`"
    said += [border if protocol.channel == "y" else ""]
    return "; ".join(part for part in said if part) + "."


def _provenance(plan: Plan, store: Store) -> list[str]:
    records = [record for record in store.records(run.key for run in plan.runs).values() if "hardware" in record]
    machines = {
        f"{record['hardware']['device_name']}, {record['hardware']['platform']}, torch {record['hardware']['torch']}, "
        f"Python {record['hardware']['python']}"
        for record in records
    }
    run = plan.runs[0]
    return [
        f"hybrid_dip {run.config['version']}, device {run.device}, {run.threads} CPU thread(s) a run.",
        *sorted(machines),
        f"The study file is `{plan.study.path.name}`; every run's settings are in `runs/*/run.json`.",
    ]


def _save_pictures(store: Store, shown: Pictures) -> dict[str, str]:
    """Save one picture for each task: a row for each image, with columns degraded, arms, clean."""
    files = {}
    for number, (task, rows) in enumerate(shown.items(), start=1):
        file = f"{PICTURES}/{number}-{re.sub(r'[^A-Za-z0-9.=-]+', '-', task)}.png"
        with store.writing():
            figures.save_grid(store.path / file, list(rows.values()))
        files[task] = file
    return files


def _save_curves(store: Store, curves: Curves) -> str | None:
    if not curves:
        return None
    panels: dict[str, dict[str, list[figures.PsnrCurve]]] = {}
    for task, images in curves.items():
        for arms in images.values():
            for arm, curve in arms.items():
                panels.setdefault(task, {}).setdefault(arm, []).append(curve)
    with store.writing():
        figures.save_psnr_curves(store.path / CURVES, panels)
    return CURVES
