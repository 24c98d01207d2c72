"""The table of a study: one row a run, and means with intervals over images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hybrid_dip.study.measures import Measure, Outputs, measure, measure_all
from hybrid_dip.study.plan import Plan, Run
from hybrid_dip.study.store import Store

LABELS = ["image", "task", "arm", "seed"]
FACTS = ["seconds", "steps", "kept_at", "reason", "error"]
RESAMPLES = 9999
CONFIDENCE = 0.95


def columns(plan: Plan) -> list[str]:
    """The metrics' columns, in the study's order."""
    return [measure(text).column for text in plan.runs[0].metrics]


def load(plan: Plan, store: Store) -> pd.DataFrame:
    """The finished runs of a study.

    A metric that was added to the study or changed after a run was done is measured on what the run has saved; one that cannot
    be measured is an error of its row.

    Args:
        plan: The study.
        store: Its folder.

    Returns:
        Columns image, task, arm, seed, each metric, seconds, steps, kept_at, reason, error; one row a finished run, in the
        plan's order.
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


def _values(run: Run, store: Store, record: Mapping[str, Any], measures: Sequence[Measure]) -> tuple[list[Any], str]:
    """The metrics of a run, from its record where they are there and were measured in the same way."""
    if record["error"]:
        return [None] * len(measures), record["error"]
    known, measured = record["metrics"], record.get("measured", {})
    if all(measured.get(one.column) == one.identity and known[one.column] is not None for one in measures):
        return [known[one.column] for one in measures], ""
    subject = run.preparing.build(run.source)
    raw = store.output(run.key)
    along = [row["psnr"] for row in store.history(run.key) if "psnr" in row]
    outputs = Outputs(subject.task.finish(raw), raw, subject.reference, along, subject.validation)
    found = measure_all(run.metrics, outputs)
    return [one.value for one in found], "; ".join(one.error for one in found if one.error)


def interval(values: Any) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean.

    Args:
        values: One an image.

    Returns:
        Low and high; NaN for fewer than two values, which say nothing about other images.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float("nan"), float("nan")
    found = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=0, batch=1000
    ).confidence_interval
    return float(found.low), float(found.high)


def summarise(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Means over images, after a mean over the seeds of each image: images are the unit, seeds only repeat it.

    Args:
        table: From :func:`load`.
        metrics: Columns.

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
