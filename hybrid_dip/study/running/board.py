"""How a study goes on, for a person: a line for each worker, and one for the whole with the time left."""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import IO, Any

from tqdm import tqdm

from hybrid_dip.restoring.estimate import duration
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.work import Outcome

MOST_LINES = 16
"""Workers that are shown at a time."""

PAUSE = 10.0
"""Seconds between two lines in a log."""


class Pace:
    """The time left, learnt from finished runs: those of one arm on one task take about the same time.

    Args:
        plan: The study.
        workers: Number of runs at a time.
    """

    def __init__(self, plan: Plan, workers: int):
        self.workers = workers
        self._steps = {run.key: run.steps * run.fits * run.passes for run in plan.runs}
        self._kind = {run.key: (run.arm, run.task) for run in plan.runs}
        self._paces: dict[tuple[str, str], list[float]] = defaultdict(list)

    def learn(self, key: str, seconds: float, steps: int) -> None:
        """Learn from a run.

        Args:
            key: Key of the run.
            seconds: Seconds that it took.
            steps: Number of its steps.
        """
        if steps > 0:
            self._paces[self._kind[key]].append(seconds / steps)

    def seconds_left(self, keys: list[str], done_steps: Mapping[str, int]) -> float | None:
        """Seconds until the rest is done.

        Args:
            keys: Keys of the runs to do.
            done_steps: Steps that those of them have taken which are going on.

        Returns:
            Seconds; None before a run was finished.
        """
        if not self._paces:
            return None
        means = {kind: sum(paces) / len(paces) for kind, paces in self._paces.items()}
        usual = sum(means.values()) / len(means)
        rest = sum(means.get(self._kind[key], usual) * (self._steps[key] - done_steps.get(key, 0)) for key in keys)
        return rest / max(1, min(self.workers, len(keys)))


class Board:
    """Shows a study on a terminal, or line by line in a log.

    Args:
        plan: The study.
        store: Its folder, which tells who does what.
        workers: Number of runs at a time.
        stream: Where to write; by default stderr.
    """

    def __init__(self, plan: Plan, store: Store, workers: int, stream: IO[str] | None = None):
        self.stream = stream or sys.stderr
        self._store = store
        self._pace = Pace(plan, workers)
        self._known = {run.key for run in plan.runs}
        self._failed = 0
        self._said = 0.0
        self._live = self.stream.isatty()
        self._total = tqdm(
            total=len(self._known),
            desc=plan.study.name,
            unit="run",
            position=0,
            file=self.stream,
            disable=not self._live,
            bar_format="{desc}: {n_fmt}/{total_fmt} runs |{bar}|{postfix}",
        )
        self._lines: list[Any] = []

    def note(self, run: Run, outcome: Outcome) -> None:
        """Count a run that is done or has failed."""
        record = self._store.record(run.key) or {}
        self._pace.learn(run.key, record.get("seconds", 0.0), record.get("steps", 0))
        if outcome.status == "failed":
            self._failed += 1
            tqdm.write(f"{run.label} failed: {outcome.message}", file=self.stream)

    def tick(self, left: list[Run]) -> None:
        """Show how it stands."""
        if not self._live and time.monotonic() - self._said < PAUSE and left:
            return
        self._said = time.monotonic()
        going = {key: progress for key, progress in self._store.in_progress().items() if key in self._known}
        steps = {key: progress.step for key, progress in going.items()}
        seconds = self._pace.seconds_left([run.key for run in left], steps)
        rest = "time left not known yet" if seconds is None else f"{duration(seconds)} left"
        failed = f", {self._failed} failed" if self._failed else ""
        done = len(self._known) - len(left)
        if not self._live:
            print(f"{done}/{len(self._known)} runs{failed}, {len(going)} going on, {rest}", file=self.stream, flush=True)
            return
        self._total.n = done
        self._total.set_postfix_str(f"{rest}{failed}")
        shown = sorted(going.values(), key=lambda progress: (progress.host, progress.pid))[:MOST_LINES]
        while len(self._lines) < len(shown):
            position = len(self._lines) + 1
            form = "  {desc} |{bar}| {n_fmt}/{total_fmt} steps"
            self._lines.append(tqdm(total=1, position=position, leave=False, file=self.stream, bar_format=form))
        for line, progress in zip(self._lines, shown, strict=False):
            line.total = max(1, progress.steps)
            line.n = min(line.total, progress.step)
            line.set_description_str(f"{progress.worker} {progress.run}"[:72])
            line.refresh()
        for line in self._lines[len(shown) :]:
            line.n = 0
            line.set_description_str("idle")
            line.refresh()

    def close(self) -> None:
        """Leave the line for the whole as it stands."""
        for line in self._lines:
            line.close()
        self._total.close()
