"""One run, from its description to its folder: what a worker does, wherever it is."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hybrid_dip.contracts import Observer, Step
from hybrid_dip.errors import FitError, Interrupted, StorageError
from hybrid_dip.execution import devices
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.fusion.stacking import stack
from hybrid_dip.images.atomic import as_file_name
from hybrid_dip.images.figures import displayable
from hybrid_dip.images.files import save_image
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.restoring.estimate import check_memory, fitting
from hybrid_dip.restoring.manifest import write_history
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.restoring.restore import Result, RunHooks, restore
from hybrid_dip.stopping.selection import steps_of
from hybrid_dip.study.describe.measures import Outputs, measure_all
from hybrid_dip.study.describe.plan import Run
from hybrid_dip.study.describe.subjects import Subject
from hybrid_dip.study.running.locks import take
from hybrid_dip.study.running.progress import Progress, Watch
from hybrid_dip.study.running.store import HISTORY, OUTPUT, RESTORED, WEIGHTS, Store

LEAST_AGE = 20.0
"""Seconds: a state younger than this is cheaper to fit again than to write."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        key: Of the run.
        status: "done"; "failed" (and recorded as such); "busy": another process works on it; "stopped": on request; "died": the
            worker did; "unwritable": the folder cannot be written.
        message: The error, where there is one.
    """

    key: str
    status: Literal["done", "failed", "busy", "stopped", "died", "unwritable"]
    message: str = ""


@dataclass(frozen=True)
class AgedCheckpoint(Checkpoint):
    """A checkpoint that is written at most every so many seconds.

    Attributes:
        age: Seconds since the last state, or since the start, below which none is written.
    """

    age: float = LEAST_AGE
    _written: list[float] = field(default_factory=lambda: [time.monotonic()])

    def due(self, steps: int) -> bool:
        """Whether the last state is old enough."""
        return time.monotonic() - self._written[-1] >= self.age

    def save(self, state: Any) -> None:
        """Write a state, where the last one is old enough: the end of a fit asks without asking whether it is due."""
        if self.due(0):
            super().save(state)
            self._written[:] = [time.monotonic()]

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state; one that cannot be read is as good as none, for nobody is there to remove it."""
        try:
            return super().load(device)
        except FitError:
            self.path.unlink(missing_ok=True)
            return None


_TURN = threading.Lock()
"""Torch's random state and its number of threads belong to the process: threads that share one take turns."""


def perform(run: Run, folder: str, runner: str = "", checkpoint_age: float = LEAST_AGE) -> Outcome:
    """Do a run and publish what came out, unless it is done or another process is at it.

    Args:
        run: Plain data.
        folder: The study's folder, on a file system that all workers share.
        runner: A file of the one who asked; when it is gone, the state is saved and the run ends.
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
        with _threads(run.threads):
            subject = run.subject()
            made = (_stack if run.fitting.arm.fuse else _fit)(run, subject, store, progress, asked, checkpoint_age)
            result, watches = made.result, made.watches
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
    along = [psnr for watch in watches.values() for psnr in watch.psnr.values()]
    measured = measure_all(run.metrics, Outputs(result.image, result.raw, subject.reference, along, subject.validation))
    first = result.fits[0]
    manifest = {
        **run.identity,
        "error": "",
        "metrics": {found.measure.column: found.value for found in measured},
        "measured": {found.measure.column: found.measure.identity for found in measured},
        "seconds": result.seconds,
        "steps": made.steps,
        "kept_at": first.kept_at,
        "reason": made.reason,
        "notes": [note for found in result.fits for note in found.notes],
        "parameters": result.parameters,
        "hardware": result.hardware,
        **({"weights": dict(made.weights)} if made.weights else {}),
    }

    def write(folder: Path) -> None:
        save_image(result.raw, folder / OUTPUT)
        save_image(displayable(result.image), folder / RESTORED)
        rows = [
            {"seed": float(seed), **row, **_psnr(watches.get(seed), int(row["step"]))}
            for seed, found in zip(result.seeds, result.fits, strict=True)
            for row in found.history
        ]
        write_history(folder / HISTORY, rows)
        if made.maps is not None:
            save_image(made.maps[None].float(), folder / WEIGHTS)

    return Outcome(run.key, "done" if store.publish(run.key, manifest, write) else "stopped")


def _psnr(watch: ReferenceWatch | None, step: int) -> dict[str, float]:
    return {} if watch is None else {"psnr": watch.psnr.get(step, float("nan"))}


@dataclass(frozen=True, eq=False)
class _Made:
    """What a run came to.

    Attributes:
        result: The image, and the fits whose history is kept.
        watches: PSNR along them, by seed.
        steps: Of all fits.
        reason: Why it ended.
        weights: Of a stack: arm -> weight.
        maps: Of a stack: (K, H, W), where maps were better than one weight an image.
    """

    result: Result
    watches: Mapping[int, ReferenceWatch]
    steps: int
    reason: str
    weights: Mapping[str, float] = field(default_factory=dict)
    maps: Tensor | None = None


def _stack(
    run: Run, subject: Subject, store: Store, progress: Progress, asked: Callable[[], bool], checkpoint_age: float
) -> _Made:
    task, arms = subject.task, run.fitting.stack(subject.task)
    selection = run.judges(task)
    watches: dict[int, ReferenceWatch] = {}
    begun = 0
    progress.steps = run.fits * run.passes * run.steps

    def hooks(name: str, seed: int) -> RunHooks:
        def count(step: Step) -> None:
            progress.step = begun * run.steps + step.index + 1

        def close() -> None:
            nonlocal begun
            begun += 1

        watching: list[Observer] = [count]
        if name == arms[0].name and subject.reference is not None:
            watches[seed] = ReferenceWatch(task, subject.reference)
            watching.append(watches[seed])
        path = store.work(run.key) / f"{as_file_name(name)}-{seed}.pt"
        return RunHooks(watching, AgedCheckpoint(path, 1, checkpoint_age), asked, close)

    device = devices.pick(run.device)
    found = stack(
        task, arms, selection=selection, seed=run.seed * run.fits, device=device, time_budget=run.seconds, hooks=hooks
    )
    first = replace(found.arms[arms[0].name], image=found.image, raw=found.raw, seconds=found.seconds)
    reason = f"stacked, judged by {selection.reason}"
    return _Made(first, watches, found.steps, reason, found.weights, found.combination.maps)


def _fit(
    run: Run, subject: Subject, store: Store, progress: Progress, asked: Callable[[], bool], checkpoint_age: float
) -> _Made:
    recipe, terms, rule = run.fitting.build(subject.task)
    tiles, device = tiles_for(subject.task, recipe), devices.pick(run.device)
    seen = of_one_fit(subject.task, tiles)
    way = fitting(run.fitting.arm.execution, seen, recipe, device)
    check_memory(seen, recipe, device, way)
    watches: dict[int, ReferenceWatch] = {}
    first = run.seed * run.fits  # so that the fits of one seed of the study are none of another's

    def hooks(seed: int) -> RunHooks:
        begun = (seed - first) * run.passes

        def count(step: Step) -> None:
            progress.step = begun * recipe.steps + step.index + 1

        progress.steps = run.fits * run.passes * recipe.steps

        def checkpoint(name: str) -> AgedCheckpoint:
            return AgedCheckpoint(store.work(run.key) / f"{name}.pt", 1, checkpoint_age)

        def close() -> None:
            nonlocal begun
            begun += 1

        def around(name: str, watching: Sequence[Observer] = ()) -> RunHooks:
            def before(what: str) -> RunHooks:
                return RunHooks([count], checkpoint(f"{name}-{what}"), asked, close)

            return RunHooks([*watching, count], checkpoint(name), asked, close, before=before)

        if tiles is not None:
            return RunHooks(halt=asked, tile=lambda number: around(f"seed-{seed}-tile-{number}"))
        # PSNR along the way is for the curves; a fit does not see its observers. Tiles have none of the whole image.
        if subject.reference is not None:
            watches[seed] = ReferenceWatch(subject.task, subject.reference)
        return around(f"seed-{seed}", [watches[seed]] if seed in watches else [])

    result = restore(
        subject.task,
        preset=recipe,
        regularisers=terms,
        rule=rule,
        seed=first,
        device=device,
        tile=recipe.tile or 0,
        time_budget=run.seconds,
        execution=way,
        hooks=hooks,
    )
    return _Made(result, watches, sum(map(steps_of, result.fits)), result.fits[0].reason)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
