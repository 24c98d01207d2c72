"""The noise level that a denoiser within a regulariser is given: a number, a schedule, the task's, or that of the residual."""

import math

import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.regularisers.terms import Moment, Schedule

UNKNOWN = 10 / 255
"""Level where neither the user nor the task gives one."""
MOST = 75 / 255
"""Highest level of a residual, above what most denoisers have learnt."""
RESIDUAL = "residual"

Sigma = float | Schedule | str | None
"""A level in [0, 1], a schedule of it, "residual", or None for the task's."""


def level_at(sigma: Sigma, over: int, x: Tensor, step: int, task: Task | None) -> float:
    """The noise level at a step of a fit.

    Args:
        sigma: What the user asked for.
        over: Steps that a schedule takes.
        x: The current estimate, (1, C, H, W).
        step: Index of the step.
        task: The task to fit; None outside of a fit.

    Returns:
        The level, in [0, 1].
    """
    if sigma is None:
        return UNKNOWN if task is None else max(task.noise_sigma or UNKNOWN, LEAST_SIGMA)
    if isinstance(sigma, str):
        return UNKNOWN if task is None else residual_level(x, task)
    if callable(sigma):
        return float(sigma(Moment(min(step, over - 1), over, torch.ones(()), 0.0)))
    return sigma


def residual_level(x: Tensor, task: Task) -> float:
    """The root mean square of the residual over what was measured, from 2/255 to 75/255.

    It falls as the fit comes near to the data, to the noise level where the noise is not fitted.

    Args:
        x: The current estimate, (1, C, H, W).
        task: The task to fit.

    Returns:
        The level, in [0, 1].
    """
    mean = float(task.residual(x).square().sum() / task.measured)
    return min(max(math.sqrt(mean), LEAST_SIGMA), MOST)


def check_sigma(name: str, sigma: Sigma) -> None:
    """Refuse what is no noise level.

    Args:
        name: Name of the regulariser, for the message.
        sigma: A level, a schedule, "residual" or None.

    Raises:
        SettingsError: A number outside of [0, 1], or another word.
    """
    if isinstance(sigma, str) and sigma != RESIDUAL:
        raise SettingsError(f"The noise level of {name} is a number, a schedule or '{RESIDUAL}': {nearest(sigma, [RESIDUAL])}.")
    if isinstance(sigma, float | int) and not 0 <= sigma <= 1:
        raise SettingsError(f"{name} needs a noise level on the scale 0..1, got sigma={sigma}.")
