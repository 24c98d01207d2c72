"""One more draw of a task's noise: as strong in each entry, and as alike between neighbours and between colours."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.denoisers import nlm
from hybrid_dip.regularisers.observed import denoised_observation

LEAST = 1e-3
"""Added to each colour's variance: colours that are wholly alike would have no Cholesky root."""


Draw = Callable[[np.random.Generator], Tensor]
"""Random numbers -> noise of the shape of y."""


def noise_like(task: Task) -> Draw:
    """A function that draws Gaussian noise of the covariance that a task's noise has.

    The deviation is the task's. Where it says that neighbours are alike (``Task.correlation``), the covariance of two entries
    is the product of that along the rows and that along the columns, times that of their colours. How alike the colours are is
    read from what non-local means takes away from the observation.

    Args:
        task: A task with Gaussian noise of a known level.

    Returns:
        The function.

    Raises:
        SettingsError: The noise is alike between neighbours, but y is no image.
    """
    y, deviation = task.observation, task.deviation
    if task.reach == 1:
        return lambda draw: deviation * torch.from_numpy(draw.standard_normal(y.shape)).to(y)
    if y.ndim != 4:
        raise SettingsError("Noise that is alike between neighbours is that of an image (1, C, H, W).")
    height, width = y.shape[-2:]
    # What is drawn is periodic: a margin as wide as the correlation keeps opposite borders apart.
    shape = (*y.shape[:2], *(side + len(task.correlation) for side in (height, width)))
    rows, columns = (_spectrum(task.correlation, side) for side in shape[-2:])
    amplitude = (rows[:, None] * columns).sqrt().to(y)
    root = torch.linalg.cholesky(colours(task))

    def coarse(draw: np.random.Generator) -> Tensor:
        white = torch.from_numpy(draw.standard_normal(shape)).to(y)
        alike = torch.fft.ifft2(torch.fft.fft2(white) * amplitude).real[..., :height, :width]
        noise: Tensor = deviation * torch.einsum("ij,njhw->nihw", root, alike)
        return noise

    return coarse


def _spectrum(correlation: tuple[float, ...], side: int) -> Tensor:
    """Power at each frequency of noise with a correlation along one axis, with mean 1. Negative power is none."""
    covariance = torch.zeros(side, dtype=torch.float64)
    covariance[0] = 1
    for lag, alike in enumerate(correlation[: (side - 1) // 2], 1):
        covariance[[lag, -lag]] = alike
    power: Tensor = torch.fft.fft(covariance).real.clamp(min=0)
    return power / power.mean()


def colours(task: Task) -> Tensor:
    """Correlation of the noise between channels, (C, C), positive definite.

    Args:
        task: A task whose observation is an image.

    Returns:
        The matrix, on the observation's device.
    """
    removed = (task.observation - denoised_observation(nlm, task)) / task.deviation.clamp(min=1e-6)
    channels = removed[0].flatten(1)
    own = torch.eye(len(channels)).to(channels)
    if len(channels) == 1:
        return own
    alike: Tensor = torch.corrcoef(channels).nan_to_num(0.0)
    return (alike + LEAST * own) / (1 + LEAST)
