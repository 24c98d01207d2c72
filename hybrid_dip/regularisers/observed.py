"""A noisy observation as a denoiser of white Gaussian noise restores it, whatever noise the task says that it has."""

import math
from collections.abc import Callable

from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.problem.fidelity import poisson
from hybrid_dip.problem.noise_estimate import photon
from hybrid_dip.regularisers.stabilised import Stabilised


def coarseness(task: Task, denoiser: Callable[..., Tensor]) -> float:
    """By how much the level that a denoiser is told is above the noise's own deviation; 1 where that is white.

    White noise has as much of what is coarse as of what is fine, noise that is alike between neighbours has more of what is
    coarse. The level of white noise that is as strong there is larger by 1 + 2 rho_1 + 2 rho_2 + ...; at that level what is
    fine would be smoothed too much. So the power 3/4 of it is told, which was better than 1/2 and 1 on photographs by
    synthetic cameras (:mod:`hybrid_dip.problem.camera`).

    Args:
        task: A task with Gaussian noise.
        denoiser: D, (x, sigma) -> x. With an attribute ``takes_coarse`` that is true it is told the deviation itself.

    Returns:
        The factor, at least 1.
    """
    if getattr(denoiser, "takes_coarse", False):
        return 1.0
    return math.pow(max(1.0, 1 + 2 * sum(task.correlation)), 0.75)


def denoised_observation(denoiser: Callable[..., Tensor], task: Task) -> Tensor:
    """D(y): photon noise is made even first, and a denoiser that takes a map of levels is told one.

    Args:
        denoiser: D, (x, sigma) -> x. With an attribute ``takes_map`` that is true sigma may be (1, 1, H, W). One with
            ``takes_coarse`` is told no sigma where the task has white noise.
        task: Denoising of Gaussian or of photon noise.

    Returns:
        The clean image, (1, C, H, W).
    """
    y = task.observation
    if task.fidelity is poisson:
        return Stabilised(denoiser, photon(y))(y)
    if getattr(denoiser, "takes_coarse", False) and task.reach == 1:
        return denoiser(y)  # made for other noise than the task says: it looks for itself
    return denoiser(y, level_for(denoiser, task))


def level_for(denoiser: Callable[..., Tensor], task: Task) -> float | Tensor:
    """The noise level that a denoiser is told of a task.

    Args:
        denoiser: D, as for :func:`denoised_observation`.
        task: Denoising of Gaussian noise.

    Returns:
        A number; a map (1, 1, H, W) where the noise is uneven and the denoiser takes one.
    """
    factor = coarseness(task, denoiser)
    if task.precision is None:
        return max(factor * (task.noise_sigma or 0.0), LEAST_SIGMA)
    level = (factor * task.deviation.square().mean(1, keepdim=True).sqrt()).clamp(min=LEAST_SIGMA)
    return level if getattr(denoiser, "takes_map", False) else float(level.square().mean().sqrt())
