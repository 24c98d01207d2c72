"""What a report shows of a study's first images: pictures, curves along the fits, maps of weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.images import figures, metrics
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.running.store import Store

MOST_PICTURES = 6
"""Images shown of each task."""

Pictures = Mapping[str, Mapping[str, Mapping[str, tuple[str, Tensor]]]]
"""Task -> image -> arm, "degraded" or "clean" -> caption and (1, C, H, W)."""

Curves = Mapping[str, Mapping[str, Mapping[str, figures.PsnrCurve]]]
"""Task -> image -> arm -> PSNR along the fit."""

Maps = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Tensor]]]]
"""Task -> image -> arm -> arm of its stack -> the weight of each pixel, (1, 1, H, W)."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """What a report shows of the first images, with the first seed.

    Attributes:
        pictures: What the arms made of them; without images of which no arm is finished.
        curves: PSNR along the fits; without arms that are no fit.
        maps: The weights of stacks; without stacks that have one weight for an image.
    """

    pictures: Pictures
    curves: Curves
    maps: Maps


def gallery_of(plan: Plan, store: Store, table: pd.DataFrame) -> Gallery:
    """Collect what a report shows.

    Args:
        plan: The study.
        store: Its folder.
        table: Its finished runs.

    Returns:
        The gallery.

    Raises:
        StorageError: A run's folder is damaged.
    """
    return Gallery(_pictures(plan, store), _curves(plan, store, table), _maps(plan, store))


def _pictures(plan: Plan, store: Store) -> Pictures:
    there = store.finished_keys()
    shown: dict[str, dict[str, Mapping[str, tuple[str, Tensor]]]] = {}
    for task in plan.tasks:
        for image in plan.images[:MOST_PICTURES]:
            cell = (task, image, plan.study.seeds[0])
            runs = [run for run in plan.runs if (run.task, run.image, run.seed) == cell and run.key in there]
            good = [run for run in runs if not (store.record(run.key) or {}).get("error", "")]
            if good:
                shown.setdefault(task, {})[image] = panels(good, store)
    return shown


def _curves(plan: Plan, store: Store, table: pd.DataFrame) -> Curves:
    first = set(plan.images[:MOST_PICTURES])
    shown: dict[str, dict[str, dict[str, figures.PsnrCurve]]] = {}
    kept = {(row.image, row.task, row.arm, row.seed): row.kept_at for row in table.itertuples() if not row.error}
    for run in plan.runs:
        cell = (run.image, run.task, run.arm, run.seed)
        if run.seed != plan.study.seeds[0] or run.image not in first or cell not in kept:
            continue
        history = store.history(run.key)
        rows = [row for row in history if row["seed"] == history[0]["seed"] and "psnr" in row]
        if len(rows) > 1:
            curve = figures.PsnrCurve([row["step"] for row in rows], [row["psnr"] for row in rows], int(kept[cell]))
            shown.setdefault(run.task, {}).setdefault(run.image, {})[run.arm] = curve
    return shown


def _maps(plan: Plan, store: Store) -> Maps:
    shown: dict[str, dict[str, dict[str, Mapping[str, Tensor]]]] = {}
    for run in plan.runs:
        if run.seed != plan.study.seeds[0] or run.image not in plan.images[:MOST_PICTURES]:
            continue
        weights: Mapping[str, float] = (store.record(run.key) or {}).get("weights", {})
        maps = store.weights(run.key) if weights else None
        if maps is not None:
            named = dict(zip(weights, (one[None, None] for one in maps), strict=True))
            shown.setdefault(run.task, {}).setdefault(run.image, {})[run.arm] = named
    return shown


def panels(runs: Sequence[Run], store: Store) -> dict[str, tuple[str, Tensor]]:
    """What the arms made of one image, to be drawn.

    Args:
        runs: Finished runs of one task, image and seed.
        store: The study's folder.

    Returns:
        Title -> caption and image: degraded (where that is an image), the arms, clean (where it is known).
    """
    subject = runs[0].preparation.build(runs[0].source)
    shown = {}
    unit = partial(subject.task.in_unit_range, like=subject.reference)
    reference = None if subject.reference is None else unit(subject.reference)
    observation = _shown_observation(subject.task)
    if observation is not None:
        observation = unit(observation)
        shown["degraded"] = (_db(observation, reference), observation)
    for run in runs:
        raw = store.output(run.key)
        image = unit(subject.task.finish(raw))
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
