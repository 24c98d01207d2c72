"""Noise impedance: how much sooner a network fits an image than the same pixels shuffled (Deep Image Prior, Figure 2).

A network is fitted to an image, to the image with noise, to its pixels in random order and to noise. One with a prior for
images is fast for the first and slow for the others. As one number:

    impedance = mean over log t of  (e_shuffled(t) - e_image(t)),    e(t) = mean (f_t - target)^2 / var(target)

the area between the two curves over the logarithm of the step, from :data:`FIRST` to the last one. It is 0 where the
arrangement of the pixels does not matter (x = theta) and would be 1 if the image were there at once and the shuffled pixels
never.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.atomic import write_text
from hybrid_dip.images.figures import save_figure, subplots
from hybrid_dip.problem.degradations import STAND_INS
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.reporting.statistics import interval
from hybrid_dip.study.running.store import Store

KIND = "impedance"
FIRST = 10
"""Step at which the area begins: before it every network is as far from everything."""
GRID = 200
"""Points of the logarithm of the step."""
TABLE, SUMMARY, PICTURE = "impedance.csv", "impedance.json", "impedance.png"

Curve = NDArray[np.float64]
"""e at each point of the grid."""


def impedance_content(images: Sequence[str], networks: Sequence[str], arm: Mapping[str, Any]) -> dict[str, Any]:
    """The study of ``hybrid-dip impedance``.

    Args:
        images: Paths or ``skimage:NAME``.
        networks: SPECs; without any the preset's own.
        arm: What all arms have in common: preset, lr, steps.

    Returns:
        A study's content, without seeds, crop and threads.
    """
    # Noise on the latent and averages would blur what is measured.
    plain = {**arm, "jitter": 0.0, "average": 0.0, "runs": 1, "stop": "max_steps"}
    arms = [{"name": _label(text), **plain, "network": text} for text in networks] or [{"name": arm["preset"], **plain}]
    tasks = [{"kind": KIND, "name": target, "target": target} for target in STAND_INS]
    return {"name": KIND, "images": [*images], "metrics": ["psnr"], "tasks": tasks, "arms": arms}


def _label(text: str) -> str:
    """A SPEC as an arm's name: without a file's folder."""
    return text.rpartition("/")[2]


def area(steps: Curve, image: Curve, shuffled: Curve) -> float:
    """The number.

    Args:
        steps: Where both were taken, rising, above 0.
        image: e of the image.
        shuffled: e of its shuffled pixels.

    Returns:
        The mean of their difference over the logarithm of the step.
    """
    where = np.log(steps)
    return float(trapezoid(shuffled - image, where) / (where[-1] - where[0]))


def report_impedance(plan: Plan, store: Store) -> dict[str, Any]:
    """Write impedance.csv (a row an arm, image and seed), impedance.json and impedance.png.

    Args:
        plan: A study with tasks of kind "impedance".
        store: Its folder.

    Returns:
        Plain data: impedance (arm -> mean, low, high, over images after a mean over seeds), steps, images, notes, files.

    Raises:
        SettingsError: The study has no such tasks, or of no image both curves are finished.
        StorageError: It cannot be written, or a run's folder is damaged.
    """
    own = [run for run in plan.runs if run.preparing.entry.kind == KIND]
    targets = {run.task: run.preparing.entry.options.get("target", "shuffled") for run in own}
    if not {"image", "shuffled"} <= set(targets.values()):
        raise SettingsError(f'{plan.study.path} needs two tasks of kind "{KIND}", with the targets "image" and "shuffled".')
    there = store.records(plan.unique)
    done = [run for run in own if run.key in there and not there[run.key]["error"]]
    last = min(run.steps for run in own) - 1
    if last <= FIRST:
        raise SettingsError(f"The area between the curves begins at step {FIRST}: make the fits longer than that.")
    steps = np.geomspace(FIRST, last, GRID)
    curves = {(run.arm, targets[run.task], run.image, run.seed): _curve(run, store, steps) for run in done}
    rows = [
        {"arm": arm, "image": image, "seed": seed, "impedance": area(steps, curve, curves[arm, "shuffled", image, seed])}
        for (arm, target, image, seed), curve in curves.items()
        if target == "image" and (arm, "shuffled", image, seed) in curves
    ]
    if not rows:
        raise SettingsError("Of no image both fits, to it and to its shuffled pixels, are finished: run the study to its end.")
    table = pd.DataFrame(rows)
    found = _summary(plan, table, last)
    with store.writing():
        buffer = io.StringIO()
        table.to_csv(buffer, index=False, lineterminator="\n", float_format="%.6g")
        write_text(store.path / TABLE, buffer.getvalue())
        write_text(store.path / SUMMARY, json.dumps(found, indent=2) + "\n")
        _draw(store, plan.arms, steps, curves, found["impedance"])
    return {**found, "files": [str(store.path / name) for name in (TABLE, SUMMARY, PICTURE)]}


def _curve(run: Run, store: Store, steps: Curve) -> Curve:
    """The error of a run's fit at these steps, between logged ones along a straight line."""
    rows = store.history(run.key)
    variance = float(run.preparing.build(run.source).task.observation.var(correction=0))
    if variance == 0:
        raise SettingsError(f"{run.image} has one value everywhere: there is nothing to fit, and nothing to shuffle.")
    return np.interp(steps, [row["step"] for row in rows], [row["fidelity"] / variance for row in rows])


def _summary(plan: Plan, table: pd.DataFrame, last: int) -> dict[str, Any]:
    per_image = table.groupby(["arm", "image"], sort=False)["impedance"].mean()
    found = {}
    for arm in [arm for arm in plan.arms if arm in per_image]:
        values = per_image[arm].to_numpy()
        ends = dict(zip(("mean", "low", "high"), (values.mean(), *interval(values)), strict=True))
        found[arm] = {name: None if value != value else float(value) for name, value in ends.items()}
    images = list(table["image"].unique())
    notes = [] if len(images) > 1 else ["One image has no interval: it says nothing about others."]
    missing = sorted(set(plan.images) - set(images))
    notes += [f"Left out, because not finished: {', '.join(missing)}."] if missing else []
    return {"impedance": found, "from_step": FIRST, "to_step": last, "images": images, "notes": notes}


def _draw(
    store: Store,
    arms: Sequence[str],
    steps: Curve,
    curves: Mapping[tuple[str, str, str, int], Curve],
    found: Mapping[str, Mapping[str, float | None]],
) -> None:
    """A panel an arm, a colour a target, thin lines images and seeds, a thick one their mean."""
    shown = [arm for arm in arms if arm in found]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = subplots(lines, columns, (4.6 * columns, 3.6 * lines))
    highest = min(2.0, max(float(curve.max()) for curve in curves.values()))
    for axis, arm in zip(axes.flat, shown, strict=False):
        means = {}
        for number, target in enumerate(STAND_INS):
            own = [curve for (of, what, _, _), curve in curves.items() if (of, what) == (arm, target)]
            for curve in own if len(own) > 1 else []:
                axis.plot(steps, curve, color=f"C{number}", linewidth=0.5, alpha=0.5)
            if own:
                means[target] = np.mean(own, axis=0)
                axis.plot(steps, means[target], color=f"C{number}", linewidth=2, label=target)
        axis.fill_between(steps, means["image"], means["shuffled"], color="0.9", zorder=0)
        axis.set(xscale="log", title=f"{arm}: {found[arm]['mean']:.3f}", xlabel="step", ylabel="squared error / variance")
        axis.set_ylim(0, highest * 1.05)
        axis.legend(fontsize="small")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(shown) :]:
        axis.axis("off")
    save_figure(figure, store.path / PICTURE)


def sentences(found: Mapping[str, Any]) -> str:
    """The result for a terminal.

    Args:
        found: From :func:`report_impedance`.

    Returns:
        A line an arm.
    """
    width = max(map(len, found["impedance"])) + 2
    lines = [f"Noise impedance, steps {found['from_step']} to {found['to_step']}, {len(found['images'])} image(s)"]
    for arm, value in found["impedance"].items():
        spread = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
        lines.append(f"  {arm:<{width}}{value['mean']:.3f}{spread}")
    return "\n".join([*lines, *found["notes"]])
