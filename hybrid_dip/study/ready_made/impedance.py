"""Noise impedance: how much sooner a network fits an image than the same pixels shuffled (Deep Image Prior, Figure 2).

A network is fitted to an image, to the image with noise, to its pixels in random order, and to noise. A network with a prior
for images is fast for the first and slow for the others. As one number:

    impedance = mean over log t of  (e_shuffled(t) - e_image(t)),    e(t) = mean (f_t - target)^2 / var(target)

the area between the two curves over the logarithm of the step, from :data:`FIRST` to the last one. It is 0 where the
arrangement of the pixels does not matter (x = theta). It would be 1 if the image were there at once, and the shuffled pixels
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
"""Number of points in the logarithm of the step."""
TABLE, SUMMARY, PICTURE = "impedance.csv", "impedance.json", "impedance.png"

OnGrid = NDArray[np.float64]
"""A value at each point of the grid, (GRID,)."""


def impedance_content(images: Sequence[str], networks: Sequence[str], arm: Mapping[str, Any]) -> dict[str, Any]:
    """The study of ``hybrid-dip impedance``.

    Args:
        images: Paths or ``skimage:NAME``.
        networks: SPECs of networks; where there are none, the preset's own is taken.
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
    """A SPEC as the name of an arm, without the folder of its file."""
    return text.rpartition("/")[2]


def area(steps: OnGrid, image: OnGrid, shuffled: OnGrid) -> float:
    """The area between two curves.

    Args:
        steps: Steps at which both were taken, rising, above 0.
        image: e of the image.
        shuffled: e of its shuffled pixels.

    Returns:
        The mean of their difference over the logarithm of the step.
    """
    where = np.log(steps)
    return float(trapezoid(shuffled - image, where) / (where[-1] - where[0]))


def report_impedance(plan: Plan, store: Store) -> dict[str, Any]:
    """Write impedance.csv (a row for each arm, image and seed), impedance.json and impedance.png.

    Args:
        plan: A study with tasks of kind "impedance".
        store: Its folder.

    Returns:
        Plain data: impedance (arm -> mean, low, high; over images, after a mean over seeds), from_step, to_step, images, notes,
        files.

    Raises:
        SettingsError: The study has no such tasks, or on no image both fits are finished.
        StorageError: It cannot be written, or a run's folder is damaged.
    """
    own = [run for run in plan.runs if run.preparation.entry.kind == KIND]
    targets = {run.task: run.preparation.entry.options.get("target", "shuffled") for run in own}
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
        raise SettingsError("On no image both fits, to it and to its shuffled pixels, are finished: run the study to its end.")
    table = pd.DataFrame(rows)
    summary = _summary(plan, table, last)
    with store.writing():
        buffer = io.StringIO()
        table.to_csv(buffer, index=False, lineterminator="\n", float_format="%.6g")
        write_text(store.path / TABLE, buffer.getvalue())
        write_text(store.path / SUMMARY, json.dumps(summary, indent=2) + "\n")
        _draw(store, plan.arms, steps, curves, summary["impedance"])
    return {**summary, "files": [str(store.path / name) for name in (TABLE, SUMMARY, PICTURE)]}


def _curve(run: Run, store: Store, steps: OnGrid) -> OnGrid:
    """The error of a run's fit at these steps, interpolated between the logged ones."""
    rows = store.history(run.key)
    variance = float(run.preparation.build(run.source).task.observation.var(correction=0))
    if variance == 0:
        raise SettingsError(f"{run.image} has one value everywhere: there is nothing to fit, and nothing to shuffle.")
    return np.interp(steps, [row["step"] for row in rows], [row["fidelity"] / variance for row in rows])


def _summary(plan: Plan, table: pd.DataFrame, last: int) -> dict[str, Any]:
    per_image = table.groupby(["arm", "image"], sort=False)["impedance"].mean()
    impedance = {}
    for arm in [arm for arm in plan.arms if arm in per_image]:
        values = per_image[arm].to_numpy()
        ends = dict(zip(("mean", "low", "high"), (values.mean(), *interval(values)), strict=True))
        impedance[arm] = {name: None if value != value else float(value) for name, value in ends.items()}
    images = list(table["image"].unique())
    notes = [] if len(images) > 1 else ["One image has no interval: it says nothing about others."]
    missing = sorted(set(plan.images) - set(images))
    notes += [f"Left out, because not finished: {', '.join(missing)}."] if missing else []
    return {"impedance": impedance, "from_step": FIRST, "to_step": last, "images": images, "notes": notes}


def _draw(
    store: Store,
    arms: Sequence[str],
    steps: OnGrid,
    curves: Mapping[tuple[str, str, str, int], OnGrid],
    impedance: Mapping[str, Mapping[str, float | None]],
) -> None:
    """Draw a panel for each arm with a colour for each target: thin lines for images and seeds, a thick one for their mean."""
    shown = [arm for arm in arms if arm in impedance]
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
        axis.set(xscale="log", title=f"{arm}: {impedance[arm]['mean']:.3f}", xlabel="step", ylabel="squared error / variance")
        axis.set_ylim(0, highest * 1.05)
        axis.legend(fontsize="small")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(shown) :]:
        axis.axis("off")
    save_figure(figure, store.path / PICTURE)


def sentences(summary: Mapping[str, Any]) -> str:
    """The result for a terminal.

    Args:
        summary: What :func:`report_impedance` gave.

    Returns:
        A line for each arm.
    """
    width = max(map(len, summary["impedance"])) + 2
    lines = [f"Noise impedance, steps {summary['from_step']} to {summary['to_step']}, {len(summary['images'])} image(s)"]
    for arm, value in summary["impedance"].items():
        spread = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
        lines.append(f"  {arm:<{width}}{value['mean']:.3f}{spread}")
    return "\n".join([*lines, *summary["notes"]])
