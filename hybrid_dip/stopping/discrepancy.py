"""Morozov's discrepancy principle, for noise that was clipped as well."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.clipping import noise_energy


@dataclass(frozen=True)
class Discrepancy:
    """Morozov's discrepancy principle: stop when the residual has the size of the noise, mean (A x - y)^2 <= factor sigma^2.

    The mean is over measured entries, the noise Gaussian of a known level. Where the observation was clipped to [0, 1], as a
    file of 8 bits is, the squared residual of the truth takes the place of sigma^2: half of it on black and on white.

    Attributes:
        factor: Factor of the noise energy, above 0; below 1 the fit is closer than the noise level.
    """

    factor: float = 1.0
    reason: ClassVar[str] = "discrepancy"

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise SettingsError(f"The factor of the discrepancy principle must be above 0, got {self.factor}.")

    def start(self, task: Task) -> State:
        """Return the threshold.

        Raises:
            SettingsError: The task has no noise level.
        """
        if not task.noise_sigma:
            raise SettingsError(
                "The discrepancy rule needs the level of Gaussian noise, which this task does not have: give sigma, or "
                "choose another rule."
            )
        return {
            "threshold": self.factor * (noise_energy(task) * task.measured),
            "stopped": torch.zeros((), dtype=torch.bool, device=task.observation.device),
        }

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep each step until the residual reaches the noise."""
        reached = step.residual.square().sum() <= state["threshold"]
        before: Tensor = state["stopped"]
        return {**state, "stopped": before | reached}, Verdict(keep=~before, stop=before | reached)
