"""What a report shows of a study's first images: pictures, curves along the fits, maps of weights."""

from collections.abc import Mapping, Sequence

import pandas as pd
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.images import figures, metrics
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.running.store import Store

MOST_PICTURES = 6
"""Images shown of each task."""

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
