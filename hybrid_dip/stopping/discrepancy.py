"""Morozov's discrepancy principle, for noise that was clipped as well."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError


@dataclass(frozen=True)
class Discrepancy:
    """Morozov's discrepancy principle: stop when the residual has the size of the noise, mean (A x - y)^2 <= factor sigma^2.

    The mean is over measured entries, the noise Gaussian of a known level. Where the observation was clipped to [0, 1], as a
    file of 8 bits is, sigma^2 is that of the clipped noise: smaller where the image is nearly black or white.

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
            "threshold": self.factor * _noise_energy(task, task.noise_sigma),
            "stopped": torch.zeros((), dtype=torch.bool, device=task.observation.device),
        }

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep each step until the residual reaches the noise."""
        reached = step.residual.square().sum() <= state["threshold"]
        before: Tensor = state["stopped"]
        return {**state, "stopped": before | reached}, Verdict(keep=~before, stop=before | reached)


MOST_AT_BOUNDS = 0.001
"""Share of entries at exactly 0 or 1 up to which an observation within [0, 1] counts as not clipped."""


def _noise_energy(task: Task, sigma: float) -> Tensor:
    """The expected sum of the squared noise over measured entries, ()."""
    y, measured = task.observation, task.measured
    weight = torch.ones_like(y) if task.weight is None else task.weight.expand_as(y)
    at_bounds = weight * ((y == 0) | (y == 1))
    if y.ndim != 4 or bool((y * weight).min() < 0) or bool((y * weight).max() > 1) or bool(at_bounds.mean() <= MOST_AT_BOUNDS):
        return sigma**2 * measured
    window = (7, 1, 3)  # side, stride, padding
    known = torch.nn.functional.avg_pool2d(weight, *window).clamp(min=1e-6)
    local_mean = torch.nn.functional.avg_pool2d(y * weight, *window) / known
    mean, variance = clipped_moments(np.linspace(-4 * sigma, 1 + 4 * sigma, 1001), sigma)
    expected = np.interp(local_mean.cpu().numpy(), mean, variance)
    return (torch.from_numpy(expected).to(y) * weight).sum()


def clipped_moments(x: NDArray[np.float64], sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of max(0, min(1, x + sigma n)) for standard normal n.

    Args:
        x: Values of any shape.
        sigma: Deviation of the noise, above 0.

    Returns:
        Mean and variance, each of x's shape.
    """
    points = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400).numpy()
    values = np.clip(x[..., None] + sigma * points, 0, 1)
    return values.mean(-1), values.var(-1)
