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
    with store.writing():
        runner = enlist(store.path / "work")
    file = Path(runner.lock_file)
    try:
        _refuse_other_machines(store)
        if retry_failed:
            _forget_failures(plan, store)
        queue = _Queue(plan, store, executor, file, checkpoint_age)
        reason = _run_queue(queue, plan.study.budget.hours or math.inf, at_once, halt, watcher or NoWatcher())
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


class _Queue:
    """The runs that are left: some wait, and some the executor has.

    Args:
        plan: The study.
        store: Its folder.
        executor: Where runs are submitted.
        runner: The runner's file; the workers save and end when it is gone.
        checkpoint_age: Seconds between two saved states of a run.
    """

    def __init__(self, plan: Plan, store: Store, executor: Executor, runner: Path, checkpoint_age: float):
        there = store.finished_keys()
        store.clear(there)
        self.left = {key: run for key, run in plan.unique.items() if key not in there}
        self.runner = runner
        self._waiting = dict.fromkeys(self.left, 0.0)  # key -> time before which it is not tried again
        self._active: dict[Future[Outcome], Run] = {}
        self._deaths: Counter[str] = Counter()
        self._store, self._executor = store, executor
        self._given = (str(store.path.absolute()), str(runner.absolute()), checkpoint_age)

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is going on."""
        return not self._waiting and not self._active

    def submit(self, at_once: int | None) -> None:
        """Give the executor what it has room for.

        Args:
            at_once: Number of runs that it is to have at a time; None for all.
        """
        room = len(self._waiting) if at_once is None else at_once - len(self._active)
        for key in [key for key, when in self._waiting.items() if when <= time.monotonic()][:room]:
            del self._waiting[key]
            self._active[self._executor.submit(perform, self.left[key], *self._given)] = self.left[key]

    def stop(self) -> None:
        """Start nothing more, and have what is going on saved."""
        self._waiting.clear()
        self._active = {future: run for future, run in self._active.items() if not future.cancel()}
        with contextlib.suppress(OSError):  # in a folder that has become read-only the workers end on their own
            self.runner.unlink(missing_ok=True)

    def outcomes(self) -> list[tuple[Run, Outcome]]:
        """What has ended, after a second at most."""
        if not self._active:
            time.sleep(0.2)
            return []
        done = wait(self._active, timeout=1.0, return_when=FIRST_COMPLETED).done
        ended = [
            (run, _outcome(future, run, self._store, self._deaths)) for future, run in self._active.items() if future in done
        ]
        self._active = {future: run for future, run in self._active.items() if future not in done}
        return ended

    def put_back(self, run: Run, pause: float) -> None:
        """Have a run tried again.

        Args:
            run: The run.
            pause: Seconds to wait before.
        """
        self._waiting[run.key] = time.monotonic() + pause


def _run_queue(queue: _Queue, hours: float, at_once: int | None, halt: Callable[[], bool], watcher: Watcher) -> str:
    """Do what is left; the result says why it ended."""
    deadline = time.monotonic() + 3600 * hours
    reason, unwritable = "complete", ""
    while not queue.empty:
        if reason == "complete":
            if not queue.runner.exists():
                raise HybridDIPError(f"{queue.runner} was removed: what is finished is safe; run the study again.")
            if halt():
                reason = "interrupted"
            elif time.monotonic() > deadline:
                reason = "budget"
            if reason != "complete":
                queue.stop()
        queue.submit(at_once)
        watcher.tick(list(queue.left.values()))
        for run, outcome in queue.outcomes():
            if outcome.status in ("done", "failed"):
                del queue.left[run.key]
                watcher.note(run, outcome)
            elif outcome.status == "unwritable":
                reason, unwritable = "unwritable", outcome.message
                queue.stop()
            elif reason == "complete":
                queue.put_back(run, 0.0 if outcome.status == "died" else PATIENCE)
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
