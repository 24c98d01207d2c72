"""All steps, the last iterate: what the original does."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hybrid_dip.contracts import State, Step, Task, Verdict


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
