"""Least squares with a linear A: its adjoint, and what explains y best near an image, by conjugate gradients."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Task


def nearest_explanation(v: Tensor, task: Task, weight: float) -> Tensor:
    """The data step, by conjugate gradients.

        argmin_u |w (A u - y)|^2 + weight |u - v|^2

    Args:
        v: (1, C, H, W).
        task: With a linear A.
        weight: Above 0.

    Returns:
        u.
    """
    back = adjoint(task)

    def normal(u: Tensor) -> Tensor:
        return back(task.forward(u) - offset) + weight * u

    with torch.no_grad():
        offset = task.forward(torch.zeros_like(v))
        left = -back(task.residual(v))
        u, direction = v.clone(), left
        size = left.square().sum()
        enough = SOLVED * size
        for _ in range(CONJUGATE_STEPS):
            if size <= enough or size == 0:
                break
            image = normal(direction)
            length = size / (direction * image).sum()
            u = u + length * direction
            left = left - length * image
            size, before = left.square().sum(), size
            direction = left + (size / before) * direction
    return u


def adjoint(task: Task) -> Callable[[Tensor], Tensor]:
    """The map r -> A^T w r, by torch's own gradient.

    Args:
        task: With a linear A (what is constant in it does not matter) and the weights w.

    Returns:
        Of the shape of y -> (1, C, H, W).
    """

    def apply(residual: Tensor) -> Tensor:
        weighted = residual if task.weight is None else residual * task.weight
        with torch.enable_grad():
            x = torch.zeros(task.shape, device=residual.device, dtype=residual.dtype, requires_grad=True)
            (found,) = torch.autograd.grad(task.forward(x), x, weighted)
        return found

    return apply


def interpolated(task: Task) -> Tensor:
    """A^T y by what was counted where, and the mean of the nearest known surroundings where nothing was.

    A^T y itself is 0 in the holes of missing pixels.

    Args:
        task: With a linear A whose transpose brings y back to the image's shape.

    Returns:
        (1, C, H, W).
    """
    y = task.observation
    sums = adjoint(task)(y - task.forward(torch.zeros(task.shape)))
    counts = adjoint(task)(torch.ones_like(y))
    least = 1e-3 * float(counts.max())
    found, known, reach = sums / counts.clamp_min(least), counts > least, 1
    while not bool(known.all()) and reach < 2 * max(task.shape):
        around, near = (F.avg_pool2d(part, 2 * reach + 1, 1, reach) for part in (sums, counts))
        size = (2 * reach + 1) ** 2
        found = torch.where(known, found, around / near.clamp_min(least / size))
        known = known | (near > least / size)
        reach *= 2
    return found


CONJUGATE_STEPS = 25
"""Of the data step at most; a mask needs two."""


SOLVED = 1e-8
"""Of the squared residual: the data step ends there."""
