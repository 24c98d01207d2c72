"""One run, from its description to its folder: what a worker does, wherever it is."""

import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from hybrid_dip.errors import Interrupted, StorageError
from hybrid_dip.execution import devices
from hybrid_dip.fusion.stacking import stack
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.restoring.memory import check_memory, recompute_if_needed
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result
from hybrid_dip.restoring.writer import ResultWriter, history_rows
from hybrid_dip.stopping.selection import steps_of
from hybrid_dip.study.describe.measures import Outputs, measure_all
from hybrid_dip.study.describe.plan import Run
from hybrid_dip.study.describe.subjects import Subject
from hybrid_dip.study.running.locks import take
from hybrid_dip.study.running.progress import Progress, Watch
from hybrid_dip.study.running.store import OUTPUT, RESTORED, WEIGHTS, Store
from hybrid_dip.study.running.surroundings import LEAST_AGE, RunHooks, StepCount


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        key: Key of the run.
        status: "done"; "failed", and recorded as such; "busy": another process works on it; "stopped" on request; "died": its
            worker did; "unwritable": the folder cannot be written.
        message: The error, where there is one.
    """

    key: str
    status: Literal["done", "failed", "busy", "stopped", "died", "unwritable"]
    message: str = ""


_TURN = threading.Lock()
"""Threads of one process take turns: torch's number of threads belongs to the process."""


def perform(run: Run, folder: str, runner: str = "", checkpoint_age: float = LEAST_AGE) -> Outcome:
    """Do a run and publish what came out, unless it is done or another process is at it.

    Args:
        run: The run.
        folder: The study's folder, on a file system that all workers share.
        runner: File of the runner; when it is gone, the state is saved and the run ends. "" for no runner.
        checkpoint_age: Seconds between two saved states.

    Returns:
        What became of it; an error of the fit is recorded in the run's folder and does not raise.
    """
    store = Store(folder)
    with _TURN:
        try:
            with store.writing():
                return _perform(run, store, Path(runner) if runner else None, checkpoint_age)
        except StorageError as error:
            return Outcome(run.key, "unwritable", str(error))


def _perform(run: Run, store: Store, runner: Path | None, checkpoint_age: float) -> Outcome:
    if store.has(run.key):
        return Outcome(run.key, "done")
    if runner is not None and not runner.exists():
        return Outcome(run.key, "stopped")
    lock = take(store.lock(run.key))
    if lock is None:
        return Outcome(run.key, "busy")
    outcome = None
    try:
        store.sweep(run.key)
        if store.has(run.key):
            outcome = Outcome(run.key, "done")
        else:
            progress = Progress(run.label, steps=run.steps)
            asked = Watch(progress, store.progress(run.key), runner)
            outcome = _fit_and_publish(run, store, progress, asked, checkpoint_age)
    finally:
        lock.release()
        if outcome is not None and outcome.status in ("done", "failed"):
            store.sweep(run.key)
    return outcome


def _fit_and_publish(run: Run, store: Store, progress: Progress, asked: Callable[[], bool], checkpoint_age: float) -> Outcome:
    try:
        with devices.threads(run.threads):
            subject = run.subject()
            count = StepCount(progress, run.steps, run.fits * run.passes)
            hooks = RunHooks(subject, store.work(run.key), count, asked, checkpoint_age)
            made = (_stack if run.method.entry.fuse else _fit)(run, subject, hooks)
            result = made.result
            if result.fits[-1].reason == "interrupted":
                return Outcome(run.key, "stopped")
    except Interrupted:
        return Outcome(run.key, "stopped")
    except StorageError:
        raise
    except Exception as error:  # a prior may fail in any way; the study goes on
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        store.publish(run.key, {**run.identity, "error": message, "traceback": traceback.format_exc()})
        return Outcome(run.key, "failed", message)
    along = [psnr for watch in hooks.watches.values() for psnr in watch.psnr.values()]
    outputs = Outputs(result.image, result.raw, subject, along)
    measurements = measure_all(run.metrics, outputs)
    first = result.fits[0]
    manifest = {
        **run.identity,
        "error": "",
        "metrics": {one.measure.column: one.value for one in measurements},
        "measured": {one.measure.column: one.measure.identity for one in measurements},
        "seconds": result.seconds,
        "steps": made.steps,
        "kept_at": first.kept_at,
        "reason": made.reason,
        "notes": [note for fit in result.fits for note in fit.notes],
        "parameters": result.parameters,
        "hardware": result.hardware,
        **({"weights": dict(made.weights)} if made.weights else {}),
    }

    def write(folder: Path) -> None:
        writer = ResultWriter(folder, subject.task)
        writer.save_array(OUTPUT, result.raw)
        writer.show(RESTORED, result.image)
        writer.write_history(history_rows(result.seeds, result.fits, hooks.watches))
        if made.maps is not None:
            writer.save_array(WEIGHTS, made.maps[None].float())

    return Outcome(run.key, "done" if store.publish(run.key, manifest, write) else "stopped")


@dataclass(frozen=True, eq=False)
class _Made:
    """What a run came to.

    Attributes:
        result: The image, and the fits whose history is kept.
        steps: Steps of all fits.
        reason: Why it ended.
        weights: Arm of a stack -> weight.
        maps: Maps of a stack's weights, (K, H, W), where they were better than one weight for each image.
    """

    result: Result
    steps: int
    reason: str
    weights: Mapping[str, float] = field(default_factory=dict)
    maps: Tensor | None = None


def _stack(run: Run, subject: Subject, hooks: RunHooks) -> _Made:
    task, arms = subject.task, run.method.stack(subject.task)
    selection = run.selection(task)
    device = devices.pick(run.device)
    fused = stack(
        task,
        arms,
        selection=selection,
        seed=run.seed * run.fits,
        device=device,
        time_budget=run.seconds,
        progress=False,
        hooks=hooks,
    )
    first = replace(fused.arms[arms[0].name], image=fused.image, raw=fused.raw, seconds=fused.seconds)
    reason = f"stacked, judged by {selection.reason}"
    return _Made(first, fused.steps, reason, fused.weights, fused.combination.maps)


def _fit(run: Run, subject: Subject, hooks: RunHooks) -> _Made:
    recipe, terms, rule = run.method.build(subject.task)
    tiles, device = tiles_for(subject.task, recipe), devices.pick(run.device)
    seen = of_one_fit(subject.task, tiles)
    way = recompute_if_needed(run.method.entry.execution, seen, recipe, device)
    check_memory(seen, recipe, device, way)
    result = restore(
        subject.task,
        preset=recipe,
        regularisers=terms,
        rule=rule,
        seed=run.seed * run.fits,  # so that the fits of one seed of the study are none of another's
        device=device,
        tile=recipe.tile or 0,
        time_budget=run.seconds,
        execution=way,
        progress=False,
        hooks=hooks,
    )
    return _Made(result, sum(map(steps_of, result.fits)), result.fits[0].reason)
