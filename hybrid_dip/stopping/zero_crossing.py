"""Stop where Monte-Carlo SURE, or PURE, crosses zero: a heuristic."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.clipping import noise_energy

DIVERGENCE = "divergence"
"""The term whose value the rule reads."""


@dataclass(frozen=True)
class ZeroCrossing:
    """The zero-crossing criterion of DIP-SURE (Jo, Chun & Choi 2021): stop when the estimate of the risk is no longer positive.

        SURE = mean |f - y|^2 + divergence - sigma^2,   PURE = mean |f - y|^2 + divergence - zeta mean y

    A risk is never negative. An estimate below zero shows that the network fits noise which the divergence does not see, which
    makes this a heuristic. The fit needs the term of :mod:`hybrid_dip.regularisers.sure`.

    Attributes:
        zeta: Gain of Poisson noise, as in the term; 0 for Gaussian noise of the task's level.
    """

    zeta: float = 0.0
    reason: ClassVar[str] = "zero crossing (heuristic)"

    def start(self, task: Task) -> State:
        """Return the energy of the noise.

        Raises:
            SettingsError: The noise level is not known.
        """
        if not self.zeta and not task.noise_sigma:
            raise SettingsError("The zero-crossing rule needs the level of Gaussian noise, or zeta for Poisson noise.")
        y = task.observation
        energy = self.zeta * y.mean() if self.zeta else torch.full((), noise_energy(task), device=y.device)
        return {"energy": energy, "stopped": torch.zeros((), dtype=torch.bool, device=y.device)}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep each step until the estimate crosses zero.

        Raises:
            SettingsError: The fit lacks the term.
        """
        if DIVERGENCE not in step.losses:
            raise SettingsError(
                "The zero-crossing rule reads the term 'divergence', which this fit lacks: take the preset dip-sure."
            )
        before = state["stopped"]
        crossed = step.losses["fidelity"] + step.losses[DIVERGENCE] <= state["energy"]
        return {**state, "stopped": before | crossed}, Verdict(keep=~before, stop=before | crossed)
