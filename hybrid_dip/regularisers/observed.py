"""A noisy observation as a denoiser of white Gaussian noise restores it, whatever noise the task says that it has."""

import math
from collections.abc import Callable

from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.problem.fidelity import poisson
from hybrid_dip.problem.noise_estimate import photon
from hybrid_dip.regularisers.stabilised import Stabilised


def coarseness(task: Task) -> float:
    """By how much the level that a denoiser of white noise is told is above the noise's own; 1 where that is white.

    White noise has as much of what is coarse as of what is fine, noise that is alike between neighbours has more of what is
    coarse. The level of white noise that is as strong there is larger by 1 + 2 rho_1 + 2 rho_2 + ...; at that level what is
    fine would be smoothed too much. So the geometric mean of both is told.

    Args:
        task: A task with Gaussian noise.

    Returns:
        The factor, at least 1.
    """
    return math.sqrt(max(1.0, 1 + 2 * sum(task.correlation)))


def told(task: Task) -> float | Tensor:
    """The level to tell a denoiser of white noise.

    Args:
        task: A task with Gaussian noise of a known level.

    Returns:
        The level in units of [0, 1], at least 2/255: a number, or (1, 1, H, W) where it is uneven.
    """
    if task.precision is None:
        return max(coarseness(task) * (task.noise_sigma or 0.0), LEAST_SIGMA)
    return (coarseness(task) * task.deviation.square().mean(1, keepdim=True).sqrt()).clamp(min=LEAST_SIGMA)


def denoised_observation(denoiser: Callable[..., Tensor], task: Task) -> Tensor:
    """D(y): photon noise is made even first, and a denoiser that takes a map of levels is told one.

    Args:
        denoiser: D, (x, sigma) -> x. With an attribute ``takes_map`` that is true sigma may be (1, 1, H, W).
        task: Denoising of Gaussian or of photon noise.

    Returns:
        The clean image, (1, C, H, W).
    """
    y = task.observation
    if task.fidelity is poisson:
        return Stabilised(denoiser, photon(y))(y)
    level = told(task)
    if isinstance(level, Tensor) and not getattr(denoiser, "takes_map", False):
        level = float(level.square().mean().sqrt())
    return denoiser(y, level)
