"""How many dB each prior brought: Shapley values over the images of a study with an [attribution].

The priors (the architecture, the image's own patch recurrence, what a network learned from many images) are players of a game.
The value of a subset is the PSNR of the arm that has just those priors. :mod:`hybrid_dip.study.reporting.shapley` divides
v(all) - v(none) among them, for each image, after a mean over its seeds. The intervals are over images.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.atomic import write_text
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.describe.settings import subset_label
from hybrid_dip.study.describe.subsets import subsets
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.shapley import Values, interactions, shapley
from hybrid_dip.study.reporting.statistics import interval
from hybrid_dip.study.reporting.waterfall import Waterfall, save_waterfalls
from hybrid_dip.study.running.store import Store

METRIC = "psnr"
TABLE = "attribution.csv"
SUMMARY = "attribution.json"
PICTURE = "attribution.png"


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the priors brought on one task.

    Attributes:
        task: Label of the task.
        priors: Names of the priors.
        images: Images on which every subset is finished.
        left_out: Images on which some are not.
        none: PSNR without any prior, for each image.
        total: PSNR with all priors minus that, for each image.
        gains: Prior -> Shapley value in dB for each image.
        pairs: Pair of priors -> Shapley interaction in dB for each image.
    """

    task: str
    priors: tuple[str, ...]
    images: tuple[str, ...]
    left_out: tuple[str, ...]
    none: Values
    total: Values
    gains: Mapping[str, Values]
    pairs: Mapping[tuple[str, str], Values]


def attribute(
    table: pd.DataFrame, priors: Sequence[str], task: str, images: Sequence[str], seeds: Sequence[int]
) -> Attribution:
    """Divide what the priors brought together among them.

    Args:
        table: The study's finished runs.
        priors: Names of the priors, as in the study's [attribution].
        task: Label of the task.
        images: The study's images.
        seeds: The study's seeds; an image counts where every subset is finished with all of them.

    Returns:
        The values, image by image.

    Raises:
        SettingsError: On no image is every subset finished; the sentence names what is missing.
    """
    labels = {subset: subset_label(subset, priors) for subset in subsets(priors)}
    own = table[(table["task"] == task) & (table["error"] == "") & table["arm"].isin(labels.values())]
    there = own.groupby(["image", "arm"])["seed"].nunique().unstack().reindex(index=images, columns=labels.values())
    whole = (there == len(seeds)).all(axis=1)
    if not whole.any():
        image, arm = next((image, arm) for image in images for arm in labels.values() if there.loc[image, arm] != len(seeds))
        raise SettingsError(
            f"On no image is every subset of the priors finished on '{task}', so nothing can be attributed: the arm '{arm}' is "
            f"missing on '{image}', for instance. Run the study to its end."
        )
    complete = [image for image in images if whole[image]]
    means = own.groupby(["arm", "image"])[METRIC].mean()
    game = {subset: means[label].reindex(complete).to_numpy(dtype=float) for subset, label in labels.items()}
    none, everything = game[frozenset()], game[frozenset(priors)]
    left_out = tuple(image for image in images if not whole[image])
    gains, pairs = shapley(game, priors), interactions(game, priors)
    return Attribution(task, tuple(priors), tuple(complete), left_out, none, everything - none, gains, pairs)


def priors_of(plan: Plan) -> tuple[str, ...]:
    """Names of the priors that a study attributes to.

    Args:
        plan: The study.

    Returns:
        In the order of the study file.

    Raises:
        SettingsError: It has no [attribution], or does not measure PSNR.
    """
    study = plan.study
    if study.attribution is None:
        raise SettingsError(f"{study.path} has no [attribution]: there are no priors to attribute anything to.")
    if METRIC not in results.columns(plan):
        raise SettingsError(f"An attribution is in dB: {study.path} has to have '{METRIC}' among its metrics.")
    return tuple(prior.name for prior in study.attribution.priors)


def attribute_study(plan: Plan, store: Store, table: pd.DataFrame) -> dict[str, Any]:
    """Write attribution.csv (a row for each image), attribution.json and the waterfall attribution.png.

    Args:
        plan: A study with an [attribution].
        store: Its folder.
        table: Its finished runs.

    Returns:
        Plain data: shapley_db (prior -> mean, low, high; after a mean over the tasks), total_db, interactions_db; tasks (the
        same for each task, with none_db, images, left_out); notes, files.

    Raises:
        SettingsError: There is no attribution, or not enough is finished.
        StorageError: It cannot be written.
    """
    priors = priors_of(plan)
    attributions = [attribute(table, priors, task, plan.images, plan.study.seeds) for task in plan.tasks]
    summary = summarise(attributions)
    with store.writing():
        buffer = io.StringIO()
        rows(attributions).to_csv(buffer, index=False, lineterminator="\n", float_format="%.6g")
        write_text(store.path / TABLE, buffer.getvalue())
        write_text(store.path / SUMMARY, json.dumps(summary, indent=2) + "\n")
        save_waterfalls(store.path / PICTURE, [waterfall_of(one) for one in attributions])
    return {**summary, "files": [str(store.path / name) for name in (TABLE, SUMMARY, PICTURE)]}


def rows(attributions: Sequence[Attribution]) -> pd.DataFrame:
    """A row for each task and image: PSNR without priors, what each prior brought, what all did, and interactions of pairs."""
    lines = []
    for one in attributions:
        for index, image in enumerate(one.images):
            gains = {name: values[index] for name, values in one.gains.items()}
            pairs = {f"{first} x {second}": values[index] for (first, second), values in one.pairs.items()}
            fixed = {"task": one.task, "image": image, "none": one.none[index]}
            lines.append({**fixed, **gains, "total": one.total[index], **pairs})
    return pd.DataFrame(lines)


def summarise(attributions: Sequence[Attribution]) -> dict[str, Any]:
    """Means over images with their intervals, for each task, and after a mean over the tasks of each image.

    Args:
        attributions: One for each task.

    Returns:
        Plain data, see :func:`attribute_study`.
    """
    table = rows(attributions)
    priors = attributions[0].priors
    pairs = [f"{first} x {second}" for first, second in attributions[0].pairs]
    counts = table.groupby("image")["task"].nunique()
    everywhere = [image for image in counts.index if counts[image] == len(attributions)]
    overall = table[table["image"].isin(everywhere)].groupby("image", sort=False)[["none", *priors, "total", *pairs]].mean()
    tasks = {one.task: table[table["task"] == one.task] for one in attributions}
    notes = []
    if any(one.left_out for one in attributions):
        missing = sorted({image for one in attributions for image in one.left_out})
        notes.append(f"Left out, because not every subset is finished there: {', '.join(missing)}.")
    if min(len(one.images) for one in attributions) < 2:
        notes.append("One image has no interval: it says nothing about others.")
    return {
        **_means(overall, priors, pairs),
        "tasks": {
            one.task: {**_means(tasks[one.task], priors, pairs), "images": list(one.images), "left_out": list(one.left_out)}
            for one in attributions
        },
        "notes": notes,
    }


def _means(table: pd.DataFrame, priors: Sequence[str], pairs: Sequence[str]) -> dict[str, Any]:
    total = table["total"].to_numpy()
    return {
        "shapley_db": {name: _mean(table[name]) for name in priors},
        "total_db": float(total.mean()) if len(total) else None,
        "total_interval_db": _mean(total),
        "none_db": _mean(table["none"]),
        "interactions_db": {name: _mean(table[name]) for name in pairs},
    }


def _mean(values: Any) -> dict[str, float | None]:
    values = np.asarray(values, dtype=float)
    low, high = interval(values)
    mean = float(values.mean()) if len(values) else float("nan")
    return {name: None if np.isnan(value) else value for name, value in {"mean": mean, "low": low, "high": high}.items()}


def waterfall_of(one: Attribution) -> Waterfall:
    """The steps from v(none) to v(all), one for each prior.

    Args:
        one: The attribution on a task.

    Returns:
        Means over the images, and their intervals.
    """
    gains = {name: float(values.mean()) for name, values in one.gains.items()}
    spread = {name: interval(values) for name, values in one.gains.items()}
    return Waterfall(f"{one.task} ({len(one.images)} images)", float(one.none.mean()), gains, spread)


def sentences(summary: Mapping[str, Any]) -> str:
    """The result for a terminal.

    Args:
        summary: What :func:`attribute_study` gave.

    Returns:
        A table for each task.
    """
    lines = []
    for task, own in summary["tasks"].items():
        width = max(map(len, (*own["shapley_db"], *own["interactions_db"], "all priors"))) + 2
        lines += [f"{task}, {len(own['images'])} images", f"  {'no prior':<{width}}{_cell(own['none_db'], '')}"]
        lines += [f"  {name:<{width}}{_cell(value, '+')}" for name, value in own["shapley_db"].items()]
        lines += [f"  {'all priors':<{width}}{_cell(own['total_interval_db'], '+')}", "  interactions"]
        lines += [f"  {name:<{width}}{_cell(value, '+')}" for name, value in own["interactions_db"].items()]
        lines.append("")
    return "\n".join([*lines, *summary["notes"]]).rstrip()


def _cell(value: Mapping[str, float | None], sign: str) -> str:
    if value["low"] is None:
        return f"{value['mean']:{sign}.2f} dB"
    return f"{value['mean']:{sign}.2f} dB [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"
