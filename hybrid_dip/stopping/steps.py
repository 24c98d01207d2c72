"""A fixed number of steps, and the last iterate."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError


@dataclass(frozen=True)
class MaxSteps:
    """Take all steps and keep the last iterate, as the original does."""

    reason: ClassVar[str] = "max_steps"

    def start(self, task: Task) -> State:
        """Return an empty state."""
        return {}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep every step, stop at none."""
        yes = torch.ones((), dtype=torch.bool, device=step.image.device)
        return state, Verdict(keep=yes, stop=~yes)


@dataclass(frozen=True)
class After:
    """Keep the image of one step, and end there. Schedules still run over all steps of the fit.

    Attributes:
        steps: Number of steps that are taken.
        reason: What is reported.
    """

    steps: int
    reason: str = "steps"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"A fit takes at least one step, got {self.steps}.")

    def start(self, task: Task) -> State:
        """Return an empty state."""
        return {}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep every step up to the last one."""
        keep = torch.full((), step.index < self.steps, device=step.image.device)
        return state, Verdict(keep=keep, stop=torch.full_like(keep, step.index + 1 >= self.steps))
