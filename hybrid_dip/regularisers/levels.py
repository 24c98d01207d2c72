"""The noise level that a denoiser within a regulariser is told: a number, a schedule, the task's, or that of the residual."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.regularisers.memory import Memory
from hybrid_dip.regularisers.terms import Moment, Schedule

UNKNOWN = 10 / 255
"""Where neither the user nor the task says."""
MOST = 75 / 255
"""Of a residual; more than most denoisers have learnt."""
RESIDUAL = "residual"

Sigma = float | Schedule | str | None
"""A level on the scale 0..1, a schedule of it, "residual", or None for the task's."""


@dataclass(frozen=True, eq=False)
class Level:
    """(x, step) -> noise level on the scale 0..1.

    Attributes:
        sigma: What was asked for.
        over: Steps that a schedule takes.
        task: Whose level or residual it is; None outside of a fit.
    """

    sigma: Sigma
    over: int
    task: Task | None = None

    def __call__(self, x: Tensor, step: int) -> float:
        """The level at a step.

        Args:
            x: The current estimate, (1, C, H, W).
            step: Index.

        Returns:
            On the scale 0..1.
        """
        if self.sigma is None:
            return UNKNOWN if self.task is None else max(self.task.noise_sigma or UNKNOWN, LEAST_SIGMA)
        if isinstance(self.sigma, str):
            return UNKNOWN if self.task is None else blind(x, self.task)
        if callable(self.sigma):
            return float(self.sigma(Moment(min(step, self.over - 1), self.over, torch.ones(()), 0.0)))
        return self.sigma


class Denoising(Protocol):
    """A regulariser that denoises the estimate every so many steps."""

    @property
    def every(self) -> int:
        """Steps between two looks."""
        ...

    def at(self, x: Tensor, sigma: float) -> Memory:
        """What is remembered of x, denoised at a level."""
        ...

    def energy(self, x: Tensor, memory: Mapping[str, Tensor]) -> Tensor:
        """The energy of x given that, as ()."""
        ...


@dataclass(frozen=True, eq=False)
class AtLevel:
    """Such a regulariser within one fit, with its level.

    Attributes:
        prior: The regulariser.
        level: That its denoiser is told.
    """

    prior: Denoising
    level: Level

    @property
    def every(self) -> int:
        """Steps between two looks."""
        return self.prior.every

    def remember(self, x: Tensor, step: int, memory: Mapping[str, Tensor]) -> Memory:
        """What is found in the denoised estimate."""
        return self.prior.at(x, self.level(x, step))

    def energy(self, x: Tensor, memory: Mapping[str, Tensor]) -> Tensor:
        """The energy of x given what was found."""
        return self.prior.energy(x, memory)

    @property
    def nearest(self) -> Callable[[Tensor, float, Mapping[str, Tensor]], Tensor] | None:
        """The prior's own prox, given what was found; None where it has none."""
        return getattr(self.prior, "nearest", None)


def blind(x: Tensor, task: Task) -> float:
    """The level of what is left of the residual: its root mean square over what was measured, 2/255 to 75/255.

    Args:
        x: The current estimate, (1, C, H, W).
        task: To fit.

    Returns:
        On the scale 0..1; it falls as the data are met, to the noise level where the noise is not fitted.
    """
    mean = float(task.residual(x).square().sum() / task.measured)
    return min(max(math.sqrt(mean), LEAST_SIGMA), MOST)


def check_sigma(name: str, sigma: Sigma) -> None:
    """Refuse what is no noise level.

    Args:
        name: Of the regulariser.
        sigma: A level, a schedule, "residual" or None.

    Raises:
        SettingsError: A number that is not on the scale 0..1, or another word.
    """
    if isinstance(sigma, str) and sigma != RESIDUAL:
        raise SettingsError(f"The noise level of {name} is a number, a schedule or '{RESIDUAL}': {nearest(sigma, [RESIDUAL])}.")
    if isinstance(sigma, float | int) and not 0 <= sigma <= 1:
        raise SettingsError(f"{name} needs a noise level on the scale 0..1, got sigma={sigma}.")
