"""How hard the fidelity pulls at an image that explains y up to the noise: the unit of balanced weights.

The norm of dE/dx depends on all of the task: A averages noise or drops it, unmeasured entries say nothing, and each likelihood
has a scale of its own. So it is measured, once, on a few random residuals of the noise model.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Fidelity, Task
from hybrid_dip.problem import fidelity

DRAWS = 4
"""Random residuals. Each has thousands of entries, so that few will do."""
POWERS: dict[Fidelity, float] = {fidelity.poisson: 0.5, fidelity.speckle: 1.0}
"""The noise's deviation grows with this power of A x; it is constant for all other likelihoods."""
SMOOTHED = 5
"""Side of the window, in entries of y, whose mean stands in for A x."""
FEWEST = 32
"""Squares of four measured entries that an estimate of the level needs."""


def noise_gradient(task: Task) -> float:
    """Root mean square of ||dE/dx|| at images with y = A x + noise.

    For Gaussian noise and A = 1 that is 2 sigma / sqrt(m), m the number of entries of y. sigma is taken to be at least
    2/255. The level of photon noise and speckle is estimated from y. For other noise models the level does not matter.

    Args:
        task: A task; A need not be linear.

    Returns:
        The norm, at least 0.
    """
    generator = torch.Generator().manual_seed(0)
    y = task.observation
    mean, deviation = _model(task)
    image = torch.rand(task.shape, dtype=torch.float32, generator=generator).to(y).requires_grad_()
    squares = 0.0
    with torch.enable_grad():
        shown = task.forward(image)
        for _ in range(DRAWS):
            normal = torch.randn(y.shape, dtype=torch.float32, generator=generator).to(y)
            noise = deviation * normal / normal.square().mean().sqrt()
            prediction = mean.clone().requires_grad_()
            (pull,) = torch.autograd.grad(replace(task, observation=mean + noise).misfit(prediction), prediction)
            (gradient,) = torch.autograd.grad(shown, image, pull, retain_graph=True)
            squares += float(gradient.square().sum())
    return math.sqrt(squares / DRAWS)


def mean_deviation(task: Task) -> float:
    """The deviation of the noise of y, its root mean square over all entries, in units of [0, 1]."""
    _, deviation = _model(task)
    return float(deviation.square().mean().sqrt())


def _model(task: Task) -> tuple[Tensor, Tensor]:
    """What stands in for A x, and the noise's deviation there; both of the shape of y."""
    y, power = task.observation, POWERS.get(task.fidelity)
    if power is None:
        return y, task.deviation.clamp(min=LEAST_SIGMA).expand_as(y)
    weight = torch.ones_like(y) if task.weight is None else task.weight.expand_as(y)
    mean = _smooth(y.clamp_min(0) * weight) / _smooth(weight).clamp_min(1e-6) + fidelity.FLOOR
    level = _level(_stabilised(y.clamp_min(0) + fidelity.FLOOR, power), weight)
    return mean, level * mean**power


def _stabilised(y: Tensor, power: float) -> Tensor:
    """A scale of y on which noise whose deviation is s y^power has the deviation s everywhere, to first order."""
    return y.log() if power == 1 else y ** (1 - power) / (1 - power)


def _level(y: Tensor, weight: Tensor) -> float:
    """The deviation of noise, by the diagonal details of squares that are measured whole (Donoho & Johnstone 1994)."""
    if y.ndim != 4 or min(y.shape[-2:]) < 2:
        return LEAST_SIGMA
    measured = _corners(weight).amin(0) > 0
    a, b, c, d = _corners(y)
    details = ((a - b - c + d) / 2)[measured]
    if len(details) < FEWEST:
        return LEAST_SIGMA
    return max(float(details.abs().median()) / 0.6745, LEAST_SIGMA)


def _corners(y: Tensor) -> Tensor:
    """The four entries of each square of 2x2 neighbours, (4, N, C, H - 1, W - 1)."""
    return torch.stack([y[..., :-1, :-1], y[..., :-1, 1:], y[..., 1:, :-1], y[..., 1:, 1:]])


def _smooth(y: Tensor) -> Tensor:
    """The mean over a window, or over all of y where it is no image."""
    if y.ndim != 4:
        return y.mean().expand_as(y)
    return F.avg_pool2d(y, SMOOTHED, 1, SMOOTHED // 2, count_include_pad=False)
