"""Gaussian noise that was clipped to [0, 1], as every file of 8 bits clips it.

    y = min(1, max(0, t)),   t = A x + sigma n

Where the image is nearly black or white, clipping changes the mean of y and makes its noise smaller. Each formula below needs
the level A x in an entry. It is estimated from y alone.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.special import log_ndtr, ndtr

from hybrid_dip.contracts import Task

MOST_AT_BOUNDS = 0.001
"""Share of entries at exactly 0 or 1 up to which an observation within [0, 1] counts as not clipped."""


def clipped_mean(level: Tensor, sigma: float) -> Tensor:
    """E y: x (Phi(b) - Phi(a)) + sigma (phi(a) - phi(b)) + 1 - Phi(b), with a = -x / sigma and b = (1 - x) / sigma.

    Args:
        level: x, of any shape.
        sigma: Deviation of the noise, above 0.

    Returns:
        The mean, of that shape, in double precision.
    """
    x = level.double()
    a, b = -x / sigma, (1 - x) / sigma
    mean: Tensor = x * (ndtr(b) - ndtr(a)) + sigma * (_density(a) - _density(b)) + ndtr(-b)
    return mean


def clipped_energy(level: Tensor, sigma: float) -> Tensor:
    """E (y - x)^2, the squared residual of the truth. It is sigma^2 / 2 at black and at white.

    With a and b as in :func:`clipped_mean` it is
    x^2 Phi(a) + (1 - x)^2 (1 - Phi(b)) + sigma^2 (Phi(b) - Phi(a) + a phi(a) - b phi(b)).

    Args:
        level: x, of any shape.
        sigma: Deviation of the noise, above 0.

    Returns:
        The energy, of that shape, in double precision.
    """
    x = level.double()
    a, b = -x / sigma, (1 - x) / sigma
    within = ndtr(b) - ndtr(a) + a * _density(a) - b * _density(b)
    energy: Tensor = x**2 * ndtr(a) + (1 - x) ** 2 * ndtr(-b) + sigma**2 * within
    return energy


def cut_off(y: Tensor, level: Tensor, sigma: float) -> Tensor:
    """E (y - t | y, x): what clipping has added where y is 0, above 0, what it has taken where y is 1, below 0; else 0.

    Args:
        y: Clipped observation.
        level: x, of y's shape.
        sigma: Deviation of the noise, above 0.

    Returns:
        The expectation, of that shape and type of y.
    """
    x = level.double()
    a, b = -x / sigma, (x - 1) / sigma
    below, above = (torch.exp(-0.5 * end**2 - log_ndtr(end)) / math.sqrt(2 * math.pi) for end in (a, b))
    zero = torch.zeros_like(x)
    cut = torch.where(y <= 0, sigma * below - x, zero) + torch.where(y >= 1, 1 - x - sigma * above, zero)
    return cut.nan_to_num(0.0).to(y)


def _density(at: Tensor) -> Tensor:
    return torch.exp(-0.5 * at**2) / math.sqrt(2 * math.pi)


def unclip(y: Tensor, level: Tensor, sigma: float, draw: np.random.Generator) -> Tensor:
    """Draw what clipping cut off: t given that it is below 0 where y is 0, and above 1 where y is 1.

    With the right level the result has the distribution of t, as if nothing had been clipped (imputation of censored data,
    Tanner & Wong 1987). Entries without noise stay as they are.

    Args:
        y: Clipped observation.
        level: x, of y's shape.
        sigma: Deviation of the noise, above 0.
        draw: Where random numbers come from.

    Returns:
        The unclipped observation, of y's shape.
    """
    from scipy import stats  # takes longer to import than all of hybrid_dip

    whole, x = y.cpu().numpy().copy(), level.cpu().numpy()
    share = draw.random(whole.shape)
    black, white = (bound & np.isfinite(x) for bound in (whole <= 0, whole >= 1))
    for cut, (low, high) in ((black, (-np.inf, -x[black] / sigma)), (white, ((1 - x[white]) / sigma, np.inf))):
        whole[cut] = x[cut] + sigma * stats.truncnorm.ppf(share[cut], low, high)
    return torch.from_numpy(whole).to(y)


def clipped_level(task: Task) -> Tensor | None:
    """Estimate A x in each entry, where the noise was clipped.

    y is denoised by non-local means (Buades, Coll & Morel 2005), which keeps text and other fine contrasts apart. The level is
    the x in [0, 1] whose :func:`clipped_mean` that is. In a sky that is blown out far beyond
    white no noise is left: all 25 entries of a window are at the bound, which on white itself has a chance of 2^-25.

    Args:
        task: The task; its observation has to be within [0, 1], with entries at the bounds, for noise to count as clipped.

    Returns:
        The level, of y's shape, NaN in entries without noise; None where y shows no clipping, is no image, or the noise is not
        Gaussian of a known, even level.
    """
    y, sigma = task.observation, task.noise_sigma
    known = torch.ones_like(y) if task.weight is None else (task.weight.expand_as(y) > 0).to(y)
    if (
        not sigma
        or task.precision is not None
        or y.ndim != 4
        or task.value_range != (0, 1)
        or bool(((y < 0) | (y > 1)).logical_and(known > 0).any())
    ):
        return None
    if bool((known * ((y == 0) | (y == 1))).sum() <= MOST_AT_BOUNDS * known.sum()):
        return None
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    denoised = _denoised(y, known, sigma)
    level = np.interp(denoised, clipped_mean(grid, sigma), grid)
    return torch.from_numpy(level).to(y).masked_fill(_silent(y <= 0, known) | _silent(y >= 1, known), torch.nan)


def _silent(at_bound: Tensor, known: Tensor) -> Tensor:
    """Where a window of 5 x 5 entries, all measured and all at the bound, can be laid over an entry."""
    noisy = 1 - at_bound.to(known) * known
    window = (5, 1, 2)  # side, stride, padding
    within = 1 - torch.nn.functional.max_pool2d(noisy, *window)
    return torch.nn.functional.max_pool2d(within, *window) > 0


def _local_mean(y: Tensor, known: Tensor) -> Tensor:
    """Mean of the measured entries in a window of 7 x 7; 0 where there are none."""
    there, near = (torch.nn.functional.avg_pool2d(part, 7, 1, 3) for part in (known, y * known))
    return near / there.clamp(min=1e-6)


def _denoised(y: Tensor, known: Tensor, sigma: float) -> NDArray[np.float64]:
    """Non-local means of y, (1, C, h, w), where entries that were not measured are filled with local means."""
    from skimage.restoration import denoise_nl_means

    filled = y if bool(known.all()) else torch.where(known > 0, y, _local_mean(y, known))
    image = filled[0].double().movedim(0, -1).cpu().numpy()  # scikit-image transposes a single channel that comes first
    options = {"patch_size": 5, "patch_distance": 6, "h": 0.5 * sigma, "sigma": sigma, "fast_mode": True}
    denoised: NDArray[np.float64] = denoise_nl_means(image, channel_axis=-1, **options).reshape(image.shape)
    return np.moveaxis(denoised, -1, 0)[None]


def noise_energy(task: Task) -> float:
    """E (y - A x)^2, a mean over the measured entries: sigma^2, and less where the noise was clipped.

    Args:
        task: A task with Gaussian noise of a known level.

    Returns:
        The energy.
    """
    sigma = float(task.noise_sigma or 0.0)
    level = clipped_level(task)
    if level is None:
        return sigma**2
    weight = torch.ones_like(level) if task.weight is None else task.weight.expand_as(level)
    return float((clipped_energy(level, sigma).nan_to_num(0.0) * weight).sum() / weight.sum())
