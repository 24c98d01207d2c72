"""What surrounds each fit of a run: its steps are counted, its PSNR is watched, its state is saved now and then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.contracts import Observer, Step
from hybrid_dip.errors import FitError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.fusion.arms import ALONE
from hybrid_dip.images.atomic import as_file_name
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.study.describe.subjects import Subject
from hybrid_dip.study.running.progress import Progress

LEAST_AGE = 20.0
"""Seconds: a state younger than this is cheaper to fit again than to write."""


@dataclass(frozen=True)
class AgedCheckpoint(Checkpoint):
    """A checkpoint that is not written again before the last state has an age.

    Attributes:
        age: Seconds since the last state, or since the start, before which none is written.
    """

    age: float = LEAST_AGE
    _written: list[float] = field(default_factory=lambda: [time.monotonic()])

    def due(self, steps: int) -> bool:
        """Whether the last state is old enough."""
        return time.monotonic() - self._written[-1] >= self.age

    def save(self, state: Any) -> None:
        """Write a state where the last one is old enough. The end of a fit saves without asking whether a state is due."""
        if self.due(0):
            super().save(state)
            self._written[:] = [time.monotonic()]

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state. A file that cannot be read is removed, because no person is there to do it."""
        try:
            return super().load(device)
        except FitError:
            self.path.unlink(missing_ok=True)
            return None


class StepCount:
    """Writes into a run's progress how many steps all of its fits have taken.

    Args:
        progress: How far the run is, which is kept up to date.
        steps: Steps of one fit.
        fits: Number of fits.
    """

    def __init__(self, progress: Progress, steps: int, fits: int):
        self.progress, self.steps, self.done = progress, steps, 0
        progress.steps = fits * steps

    def __call__(self, step: Step) -> None:
        """Count a step of the fit that is going on."""
        self.progress.step = self.done * self.steps + step.index + 1

    def close(self) -> None:
        """Go on to the next fit."""
        self.done += 1


class RunHooks:
    """What surrounds each fit of a run: its steps are counted, its PSNR is watched, its state is saved.

    Args:
        subject: What is fitted, and the clean image where there is one.
        folder: Where states are saved.
        count: Counts the steps of all fits.
        halt: Asked between two steps whether to end.
        age: Seconds between two saved states.

    Attributes:
        watches: Seed -> PSNR along its fit, in a stack along that of the network alone. It is for the curves, and no fit sees
            it. An image in tiles has none.
    """

    def __init__(self, subject: Subject, folder: Path, count: StepCount, halt: Callable[[], bool], age: float):
        self.subject, self.folder, self.count, self.halt, self.age = subject, folder, count, halt, age
        self.watches: dict[int, ReferenceWatch] = {}

    def __call__(self, name: FitName) -> FitHooks:
        """Make what surrounds one fit."""
        observers: list[Observer] = [self.count]
        if self.subject.reference is not None and name in (FitName(name.seed), FitName(name.seed, arm=ALONE)):
            watch = self.watches[name.seed] = ReferenceWatch(self.subject.task, self.subject.reference)
            observers.insert(1 if name.arm else 0, watch)  # its place is part of the states that are saved
        file = "-".join(filter(None, [as_file_name(name.arm), str(name.seed), name.replicate])) if name.arm else name.file
        return FitHooks(observers, AgedCheckpoint(self.folder / f"{file}.pt", 1, self.age), self.halt)
