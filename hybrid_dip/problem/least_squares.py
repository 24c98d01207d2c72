"""Least squares with a linear A: what explains y best near an image, and what y shows of the image; by conjugate gradients."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.problem.operators import adjoint

STEPS = 25
"""Conjugate gradients take at most this many for the data; a mask needs two."""

SOLVED = 1e-8
"""They end where the squared residual has fallen to this share of the first one."""


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], start: Tensor, residual: Tensor, *, steps: int, solved: float | None = None
) -> Tensor:
    """Steps towards the solution of B x = b (Hestenes & Stiefel 1952).

    Args:
        apply: B, linear, symmetric and positive definite, on tensors of any one shape.
        start: The first x.
        residual: b - B start.
        steps: At most this many.
        solved: End where the squared residual is at most this share of the first one, or 0. None: take all steps, and never
            wait for the device.

    Returns:
        x.
    """
    x, direction = start, residual
    size = residual.square().sum()
    enough = None if solved is None else solved * size
    for _ in range(steps):
        if enough is not None and bool((size <= enough) | (size == 0)):
            break
        image = apply(direction)
        length = _ratio(size, (direction * image).sum())
        x, residual = x + length * direction, residual - length * image
        size, before = residual.square().sum(), size
        direction = residual + _ratio(size, before) * direction
    return x


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """The quotient a / b, finite where both are 0: there is nothing left to solve then."""
    return a / torch.where(b == 0, torch.finfo(b.dtype).tiny, b)


def nearest_explanation(v: Tensor, task: Task, weight: float) -> Tensor:
    """The image that explains y best and is near another one.

        argmin_u |w (A u - y)|^2 + weight |u - v|^2

    Every measured entry counts alike, whatever its precision.

    Args:
        v: The other image, (1, C, H, W).
        task: One with a linear A; w are its weights.
        weight: A number above 0.

    Returns:
        u, (1, C, H, W).
    """
    task = replace(task, precision=None)
    with torch.no_grad():
        offset = task.forward(torch.zeros_like(v))

        def normal(u: Tensor) -> Tensor:
            return _back(task.forward(u) - offset, task) + weight * u

        return conjugate_gradients(normal, v.clone(), -_back(task.residual(v), task), steps=STEPS, solved=SOLVED)


def interpolation(task: Task) -> Tensor:
    """A^T y over A^T 1, and the mean of the nearest known surroundings where nothing was measured.

    A^T y itself is 0 in the holes of missing pixels.

    Args:
        task: One with a linear A whose transpose brings y back to the image's shape.

    Returns:
        (1, C, H, W).
    """
    y = task.observation
    sums = _back(y - task.forward(torch.zeros(task.shape)), task)
    counts = _back(torch.ones_like(y), task)
    least = 1e-3 * float(counts.max())
    image, known, reach = sums / counts.clamp_min(least), counts > least, 1
    while not bool(known.all()) and reach < 2 * max(task.shape):
        around, near = (F.avg_pool2d(part, 2 * reach + 1, 1, reach) for part in (sums, counts))
        size = (2 * reach + 1) ** 2
        image = torch.where(known, image, around / near.clamp_min(least / size))
        known = known | (near > least / size)
        reach *= 2
    return image


def _back(residual: Tensor, task: Task) -> Tensor:
    """A^T w r."""
    weighted = residual if task.weight is None else residual * task.weight
    return adjoint(task.forward, weighted, task.shape)
