"""The table of a study: a row for each run, and means with intervals over images."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybrid_dip.images.atomic import write_text
from hybrid_dip.study.describe.measures import Measure, Outputs, measure, measure_all
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.reporting.statistics import Comparison, compare, interval
from hybrid_dip.study.running.store import Store

LABELS = ["image", "task", "arm", "seed"]
FACTS = ["seconds", "steps", "kept_at", "reason", "error"]


def columns(plan: Plan) -> list[str]:
    """The columns of the metrics, in the study's order."""
    return [measure(text).column for text in plan.runs[0].metrics]


def seconds(plan: Plan, table: pd.DataFrame) -> float:
    """How long all fits took; a run that two arms share counts once.

    Args:
        plan: The study.
        table: Its finished runs.

    Returns:
        Seconds.
    """
    keys = {(run.image, run.task, run.arm, run.seed): run.key for run in plan.runs}
    own = [keys[label] for label in zip(*(table[name] for name in ("image", "task", "arm", "seed")), strict=True)]
    return float(table["seconds"][~pd.Series(own, index=table.index, dtype=str).duplicated()].sum())


def load(plan: Plan, store: Store) -> pd.DataFrame:
    """The finished runs of a study.

    A metric that was added or changed after a run was done is measured on what the run has saved. One that cannot be measured
    is an error of its row.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        Columns image, task, arm, seed, each metric, seconds, steps, kept_at, reason, error; a row for each finished run,
        in the plan's order.
    """
    measures = [measure(text) for text in plan.runs[0].metrics]
    records = store.records(plan.unique)
    rows = []
    for run in plan.runs:
        record = records.get(run.key)
        if record is None:
            continue
        values, error = _values(run, store, record, measures)
        labels = [run.image, run.task, run.arm, run.seed]
        facts = [record.get("seconds"), record.get("steps"), record.get("kept_at"), record.get("reason", ""), error]
        rows.append([*labels, *values, *facts])
    names = [one.column for one in measures]
    table = pd.DataFrame(rows, columns=[*LABELS, *names, *FACTS])
    return table.astype({**dict.fromkeys([*names, "seconds"], "float64"), "steps": "Int64", "kept_at": "Int64"})


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
    table = load(plan, store)
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n", float_format="%.6g")
    with store.writing():
        write_text(store.path / "results.csv", buffer.getvalue())
    return table


def _values(run: Run, store: Store, record: Mapping[str, Any], measures: Sequence[Measure]) -> tuple[list[Any], str]:
    """The metrics of a run; from its record where they were measured in the same way."""
    if record["error"]:
        return [None] * len(measures), record["error"]
    known, measured = record["metrics"], record.get("measured", {})
    if all(measured.get(one.column) == one.identity and known[one.column] is not None for one in measures):
        return [known[one.column] for one in measures], ""
    subject = run.preparation.build(run.source)
    raw = store.output(run.key)
    along = [row["psnr"] for row in store.history(run.key) if "psnr" in row]
    outputs = Outputs(subject.task.finish(raw), raw, subject, along)
    taken = measure_all(run.metrics, outputs)
    return [one.value for one in taken], "; ".join(one.error for one in taken if one.error)


def summarise(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Means over images, after a mean over the seeds of each image: images are the unit, seeds only repeat it.

    Args:
        table: The study's finished runs.
        metrics: Columns of the table.

    Returns:
        Columns task, arm, metric, mean, low, high, images, runs, in the table's order.
    """
    rows = []
    good = table[table["error"] == ""]
    for (task, arm), cell in good.groupby(["task", "arm"], sort=False):
        for name in metrics:
            per_image = cell.groupby("image", sort=False)[name].mean().dropna()
            low, high = interval(per_image)
            mean = float(per_image.mean()) if len(per_image) else float("nan")
            rows.append([task, arm, name, mean, low, high, len(per_image), len(cell)])
    return pd.DataFrame(rows, columns=["task", "arm", "metric", "mean", "low", "high", "images", "runs"])


def baseline_of(plan: Plan) -> str:
    """The arm that the others are compared with."""
    return plan.study.baseline or plan.arms[0]


def compare_with_baseline(plan: Plan, table: pd.DataFrame, task: str, metric: str) -> dict[str, Comparison]:
    """Compare the other arms with the baseline, image by image, on what both have finished.

    Args:
        plan: The study.
        table: Its finished runs.
        task: Label of the task; its comparisons are one family of tests.
        metric: Column of the table.

    Returns:
        Arm -> comparison, in the plan's order; without arms that share no image and seed with the baseline.
    """
    own = table[(table["task"] == task) & (table["error"] == "")]
    wide = own.pivot_table(index=["image", "seed"], columns="arm", values=metric, sort=False)
    first = baseline_of(plan)
    if first not in wide:
        return {}
    differences = {arm: (wide[arm] - wide[first]).dropna() for arm in plan.arms if arm != first and arm in wide}
    per_image = {arm: values.groupby("image").mean().tolist() for arm, values in differences.items() if len(values)}
    return compare(per_image)


def sentence_on_other_runs(plan: Plan, store: Store) -> str:
    """Say what else is in the folder: finished runs that are not of the study as it is now.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        A sentence, or "" where there are none.
    """
    others = store.finished_keys() - set(plan.unique)
    if not others:
        return ""
    own = plan.runs[0].version
    records = store.records(others).values()
    versions = sorted({str(record.get("config", {}).get("version")) for record in records} - {own, "None"})
    of = f" of hybrid_dip {', '.join(versions)}, not {own}," if versions else " of other settings"
    return f"{len(others)} finished runs in {store.path}{of} are no part of the study as it is, and are left out."
