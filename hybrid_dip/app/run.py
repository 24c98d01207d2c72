"""One restoration that can be watched, stopped, and gone on with; and the queue in which they take turns."""

import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from hybrid_dip.app.asked import Asked
from hybrid_dip.app.iterates import Iterates
from hybrid_dip.app.job import Job
from hybrid_dip.contracts import Observer, Step
from hybrid_dip.errors import HybridDIPError, describe_error
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.problem.masks import to_fill_in
from hybrid_dip.problem.noise import estimated
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.result import Result
from hybrid_dip.stopping.selection import fits_of

CHECKPOINT_EVERY = 200
"""Steps between two saved states, as on the command line."""


class Watch:
    """How far one fit is.

    Attributes:
        done: Steps so far.
        over: Whether the fit has ended.
    """

    def __init__(self, run: "Run"):
        self.run, self.done, self.over = run, 0, False

    def __call__(self, step: Step) -> None:
        """Count a step."""
        self.done = step.index + 1
        self.run.steps_taken += 1
        if self.run.steps_taken == 1:
            self.run.since = time.perf_counter()  # the first step warms up

    def close(self) -> None:
        """The fit has ended, or was stopped."""
        self.over = not self.run.halted.is_set()


class Run:
    """A restoration: it waits for its turn, is fitted, and is stopped and gone on with.

    Attributes:
        asked: What was asked for.
        job: Its objects.
        folder: Folder of its iterates and states.
        title: What it is called on the page.
        state: "waiting", "running", "stopped", "finished" or "failed".
        error: Why it failed, in a sentence.
        notes: Sentences that a user should read.
        iterates: The iterates so far.
        fits: Name -> how far each fit is.
        result: The result, once it is finished.
        halted: Set when it is to stop.
    """

    def __init__(self, asked: Asked, job: Job, folder: Path, number: int, notes: Sequence[str] = ()):
        self.asked, self.job, self.folder = asked, job, folder
        self.title = " + ".join([f"{number}: {asked.preset}", *asked.priors])
        self.state, self.error = "stopped", ""
        untold = asked.task == "denoise" and asked.options.get("sigma") is None and job.task.noise_sigma is not None
        sigma = estimated(job.task) if untold else ""
        self.notes = [*notes, *filter(None, [sigma, to_fill_in(job.task), job.recipe.note])]
        self.iterates = Iterates(job, folder)
        self.fits: dict[FitName, Watch] = {}
        self.result: Result | None = None
        self.halted = threading.Event()
        self.steps_taken, self.since = 0, 0.0
        self.future: Future[None] | None = None

    @property
    def active(self) -> bool:
        """Whether it waits or is fitted."""
        return self.state in ("waiting", "running")

    def stop(self) -> None:
        """Let it end after its next step; its state is saved."""
        self.halted.set()
        if self.future is not None and self.future.cancel():
            self.state = "stopped"

    def fit(self) -> None:
        """Fit, or go on where it was stopped. The states of earlier fits are read, so that the floats are the same."""
        self.state, self.steps_taken = "running", 0
        try:
            result = self.job.restore(self.hooks)
            if result.fits[-1].reason == "interrupted":
                self.state = "stopped"
                return
            self.notes += [note for fit in result.fits for note in fit.notes]
            self.result, self.state = result, "finished"
        except (HybridDIPError, OSError) as error:
            self.error, self.state = " ".join(str(error).split()), "failed"
        except torch.OutOfMemoryError:
            self.error, self.state = f"{self.job.device} ran out of memory: take the preset quick, or a part by crop.", "failed"
        except Exception as error:
            traceback.print_exc()
            self.error, self.state = f"The fit failed, which is a fault of this program: {describe_error(error)}.", "failed"

    def hooks(self, name: FitName) -> FitHooks:
        """What surrounds one fit."""
        watch = self.fits.setdefault(name, Watch(self))
        state = Checkpoint(self.folder / f"{name.file}.pt", CHECKPOINT_EVERY)
        observers: list[Observer] = [watch, *self.iterates.watch(name)]
        return FitHooks(observers, state, self.halted.is_set)

    @property
    def seeds(self) -> range:
        """The seeds of its fits."""
        return range(self.job.seed, self.job.seed + self.job.recipe.runs)

    @property
    def steps_of_a_seed(self) -> int:
        """Steps of all fits of a seed, where none ends early."""
        return self.job.recipe.steps * fits_of(self.job.rule) * (1 if self.job.tiles is None else len(self.job.tiles.boxes))

    def share(self, seed: int) -> float:
        """How much of the fits of a seed is done, from 0 to 1."""
        fits = [fit for name, fit in list(self.fits.items()) if name.seed == seed]
        return sum(self.job.recipe.steps if fit.over else fit.done for fit in fits) / self.steps_of_a_seed

    def seconds_left(self) -> float | None:
        """Seconds that it takes if no fit ends early; None before that can be told."""
        if self.state != "running" or self.steps_taken < 2:
            return None
        each = (time.perf_counter() - self.since) / (self.steps_taken - 1)
        return each * self.steps_of_a_seed * sum(1 - self.share(seed) for seed in self.seeds)


class Queue:
    """Runs take turns: two at once would take each other's cores."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "fit")
        self.runs: list[Run] = []

    def add(self, run: Run) -> None:
        """Let a run be fitted, or go on, after those that wait already."""
        if run.active:
            return
        run.halted.clear()
        run.state, run.error = "waiting", ""
        self.runs = [other for other in self.runs if other.active and other is not run] + [run]
        run.future = self._thread.submit(run.fit)

    def before(self, run: Run) -> int:
        """How many others are fitted before a run that waits."""
        return sum(other.active for other in self.runs[: self.runs.index(run)])

    def close(self) -> None:
        """Stop all runs, and wait for the one that is fitted."""
        for run in self.runs:
            run.stop()
        self._thread.shutdown(cancel_futures=True)
