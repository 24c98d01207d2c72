"""The loop over all runs of a plan: start them, watch them, repeat one whose worker died, record one that fails."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hybrid_dip.errors import HybridDIPError, StorageError
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.running.locks import enlist, other_machines, take
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.surroundings import LEAST_AGE
from hybrid_dip.study.running.work import Outcome, perform

MOST_DEATHS = 3
"""A run counts as failed when this many workers have died at it."""

PATIENCE = 2.0
"""Seconds between two tries for a run that another process works on."""


@dataclass(frozen=True)
class Tally:
    """Where a study stands.

    Attributes:
        total: Number of runs in the plan.
        done: Number of those that are finished well.
        failed: Number of those that are recorded with an error.
        reason: Why the runner ended: "complete", "interrupted" or "budget".
    """

    total: int
    done: int
    failed: int
    reason: str = "complete"

    @property
    def left(self) -> int:
        """Number of runs still to do."""
        return self.total - self.done - self.failed


class Watcher(Protocol):
    """Shows how a study goes on."""

    def note(self, run: Run, outcome: Outcome) -> None:
        """Take note of a run that is done or has failed."""
        ...

    def tick(self, left: list[Run]) -> None:
        """Show what is still to do; called about once a second."""
        ...


class NoWatcher:
    """Shows nothing."""

    def note(self, run: Run, outcome: Outcome) -> None:
        """Do nothing."""

    def tick(self, left: list[Run]) -> None:
        """Do nothing."""


def tally(plan: Plan, store: Store, reason: str = "complete") -> Tally:
    """Count what is finished.

    Args:
        plan: The study.
        store: Its folder.
        reason: Why the runner ended.

    Returns:
        The counts.
    """
    records = store.records(plan.unique)
    failed = sum(1 for record in records.values() if record["error"])
    return Tally(len(plan.unique), len(records) - failed, failed, reason)


def run_study(
    plan: Plan,
    store: Store,
    executor: Executor,
    *,
    at_once: int | None = None,
    retry_failed: bool = False,
    halt: Callable[[], bool] = lambda: False,
    watcher: Watcher | None = None,
    checkpoint_age: float = LEAST_AGE,
) -> Tally:
    """Do all runs of a plan that are not finished.

    May be interrupted, killed, repeated, and called several times at once on one machine.

    Args:
        plan: What to do.
        store: The folder; all workers must see it under the same path.
        executor: Any executor whose workers can import this package.
        at_once: Number of runs that the executor is given at a time; None gives it all.
        retry_failed: Whether to do those again that are recorded with an error.
        halt: Asked about once a second whether to save all states and end.
        watcher: Shows how it goes.
        checkpoint_age: Seconds between two saved states of a run.

    Returns:
        Where the study stands now.

    Raises:
        StorageError: The folder cannot be written; what is finished is safe.
        HybridDIPError: The executor is broken, another machine is at work in the folder, or the runner's file was removed.
    """
    watcher = watcher or NoWatcher()
    with store.writing():
        runner = enlist(store.path / "work")
    file = Path(runner.lock_file)
    try:
        _refuse_other_machines(store)
        if retry_failed:
            _forget_failures(plan, store)
        reason = _run(plan, store, executor, file, at_once, halt, watcher, checkpoint_age)
    except BrokenExecutor as error:
        raise HybridDIPError(
            f"The executor is broken ({error}): what is finished is safe; run the study again with a new one."
        ) from None
    finally:
        with contextlib.suppress(OSError):  # where the folder has become read-only, that has been said already
            file.unlink(missing_ok=True)
        runner.release()
    store.clear(plan.unique)
    return tally(plan, store, reason)


def _refuse_other_machines(store: Store) -> None:
    others = other_machines(store.path / "work")
    if others:
        raise HybridDIPError(
            f"{min(others)} is at work in {store.path}: on several machines a study runs through Ray (--executor ray); wait "
            f"until that one has ended, or name another folder."
        )


def _run(
    plan: Plan,
    store: Store,
    executor: Executor,
    runner: Path,
    at_once: int | None,
    halt: Callable[[], bool],
    watcher: Watcher,
    checkpoint_age: float,
) -> str:
    """Do what is left; the result says why it ended."""
    there = store.finished_keys()
    store.clear(there)
    left = {key: run for key, run in plan.unique.items() if key not in there}
    waiting = dict.fromkeys(left, 0.0)  # key -> time before which it is not tried again
    active: dict[Future[Outcome], Run] = {}
    deaths: Counter[str] = Counter()
    deadline = time.monotonic() + 3600 * (plan.study.budget.hours or math.inf)
    given = (str(store.path.absolute()), str(runner.absolute()), checkpoint_age)
    reason, unwritable = "complete", ""

    def end(why: str) -> None:
        """Start nothing more, and have what is going on saved."""
        nonlocal reason, active
        reason = why
        waiting.clear()
        active = {future: run for future, run in active.items() if not future.cancel()}
        runner.unlink(missing_ok=True)

    while waiting or active:
        if reason == "complete":
            if not runner.exists():
                raise HybridDIPError(f"{runner} was removed: what is finished is safe; run the study again.")
            if halt():
                end("interrupted")
            elif time.monotonic() > deadline:
                end("budget")
        room = len(waiting) if at_once is None else at_once - len(active)
        for key in [key for key, when in waiting.items() if when <= time.monotonic()][:room]:
            del waiting[key]
            active[executor.submit(perform, left[key], *given)] = left[key]
        watcher.tick(list(left.values()))
        if not active:
            time.sleep(0.2)
            continue
        for future in wait(active, timeout=1.0, return_when=FIRST_COMPLETED).done:
            run = active.pop(future)
            outcome = _outcome(future, run, store, deaths)
            if outcome.status in ("done", "failed"):
                del left[run.key]
                watcher.note(run, outcome)
            elif outcome.status == "unwritable":
                unwritable = outcome.message
                end("unwritable")
            elif reason == "complete":
                waiting[run.key] = 0.0 if outcome.status == "died" else time.monotonic() + PATIENCE
    if unwritable:
        raise StorageError(unwritable)
    return reason


def _forget_failures(plan: Plan, store: Store) -> None:
    """Have failed runs done again; each is looked at under its lock, for another runner may have done so already."""
    for key, record in store.records(plan.unique).items():
        if record["error"]:
            with store.writing():
                lock = take(store.lock(key))
            if lock is not None:
                again = store.record(key)
                if again is not None and again["error"]:
                    store.discard(key)
                lock.release()


def _outcome(future: "Future[Outcome]", run: Run, store: Store, deaths: Counter[str]) -> Outcome:
    """What became of a run; one at which too many workers died is recorded as failed."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenExecutor):
        raise error
    deaths[run.key] += 1
    if deaths[run.key] < MOST_DEATHS:
        return Outcome(run.key, "died")
    message = f"{type(error).__name__}: {' '.join(str(error).split())} ({MOST_DEATHS} times)"
    with store.writing():
        lock = take(store.lock(run.key))
    if lock is None:
        return Outcome(run.key, "busy")
    store.publish(run.key, {**run.identity, "error": message})
    lock.release()
    store.sweep(run.key)
    return Outcome(run.key, "failed", message)
