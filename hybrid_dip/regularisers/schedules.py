"""lambda(t): weights that change during a fit. Each class is a schedule, a callable Moment -> weight.

The same schedules serve for the learning rate, as a factor of it.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.terms import Moment

LARGEST = 1e12
"""Largest weight or factor; beyond it float32 has no accuracy left."""


def _check_not_negative(*values: float) -> None:
    for value in values:
        if not 0 <= value <= LARGEST:
            raise SettingsError(f"A schedule's values must be numbers from 0 to {LARGEST:g}, got {value}.")


@dataclass(frozen=True)
class Linear:
    """From ``start`` at the first step to ``end`` at the last along a straight line."""

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_not_negative(self.start, self.end)

    def __call__(self, moment: Moment) -> float:
        """Return the value at this moment."""
        return self.start + (self.end - self.start) * moment.progress


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a cosine: end + (start - end) (1 + cos(pi t)) / 2 (Loshchilov & Hutter 2017)."""

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_not_negative(self.start, self.end)

    def __call__(self, moment: Moment) -> float:
        """Return the value at this moment."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * moment.progress)) / 2


@dataclass(frozen=True)
class Steps:
    """Piecewise constant: ``values[0]`` before step ``at[0]``, ``values[1]`` from there to ``at[1]``, and so on."""

    values: Sequence[float]
    at: Sequence[int]

    def __post_init__(self) -> None:
        _check_not_negative(*self.values)
        if len(self.values) != len(self.at) + 1 or list(self.at) != sorted(self.at):
            raise SettingsError(
                f"A step schedule needs rising steps and one value more than steps, got {self.values} at {self.at}."
            )

    def __call__(self, moment: Moment) -> float:
        """Return the value at this moment."""
        return self.values[bisect_right(self.at, moment.step)]


@dataclass(frozen=True)
class Balanced:
    """A weight that balances two gradients: rho g / mean ||dR/dx|| over the first steps, then frozen.

    g is the norm of the fidelity's gradient when the residual is as large as the noise
    (:mod:`hybrid_dip.problem.noise_gradient`), measured for the task's own operator, weights and likelihood: rho means the
    same in every task. As the prior's gradient changes along the fit, rho = 1 does not say where the fit comes to
    rest.

    This holds for priors of the image. For a term of the network the norm is that of dR/dtheta, over the parameters, which
    cannot be compared with a gradient at the image: there rho is on no common scale, and good values are often far above 1.
    """

    rho: float = 0.5

    def __post_init__(self) -> None:
        _check_not_negative(self.rho)

    def __call__(self, moment: Moment) -> Tensor:
        """Return the value at this moment; 0 as long as the regulariser has no gradient."""
        norm = moment.gradient_norm
        return torch.where(norm > 0, self.rho * moment.noise_gradient / norm, torch.zeros_like(norm))


@dataclass(frozen=True)
class WarmUp:
    """0 to ``value`` over the first ``steps`` steps, then constant."""

    value: float
    steps: int

    def __post_init__(self) -> None:
        _check_not_negative(self.value, self.steps)

    def __call__(self, moment: Moment) -> float:
        """Return the value at this moment."""
        return self.value * min(1.0, moment.step / self.steps) if self.steps else self.value
