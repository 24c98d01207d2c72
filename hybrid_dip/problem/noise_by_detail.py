"""The level of white noise by the finest detail: quick, and right where nothing else is that fine."""

import math
import warnings

import numpy as np
from torch import Tensor

from hybrid_dip.errors import SettingsError


def estimate_sigma(observation: Tensor) -> float:
    """Level of Gaussian noise by the median of the finest wavelet coefficients (Donoho & Johnstone 1994), mean over channels.

    Args:
        observation: (1, C, H, W) in [0, 1].

    Returns:
        The standard deviation, in units of [0, 1].

    Raises:
        SettingsError: No channel has any detail.
    """
    from skimage.restoration import estimate_sigma as wavelet_sigma

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about channels without any detail, which are left out
        levels = [float(wavelet_sigma(plane.cpu().numpy())) for plane in observation[0]]
    known = [level for level in levels if math.isfinite(level)]
    if not known:
        raise SettingsError("The noise level of an image without any detail cannot be estimated; give sigma.")
    return sum(known) / len(known)


LEAST_PAIRS = 64
"""Fewer pairs of neighbours say nothing of the noise."""
QUARTILE = 0.3186
"""A quarter of the draws of a normal distribution are nearer to 0 than this many deviations."""


def noise_of_pairs(observation: Tensor, known: Tensor | None = None, *, apart: int = 1) -> float | None:
    """Level of the noise by the differences of neighbours that were both measured: the quarter of them that is smallest.

    Detail counts as noise, but the smallest quarter has little of it. Unlike :func:`estimate_sigma` it needs no whole image.

    Args:
        observation: (1, C, H, W).
        known: 1 where an entry was measured, 0 elsewhere; broadcast to the observation. None: 1 everywhere.
        apart: Pixels from a neighbour to the next; 2 for a Bayer mosaic, where next to a pixel is one of another colour.

    Returns:
        The standard deviation; None where there are fewer than 64 pairs.
    """
    difference = observation[..., apart:] - observation[..., :-apart]
    if known is not None:
        here = known.expand_as(observation) > 0
        difference = difference[here[..., apart:] & here[..., :-apart]]
    if difference.numel() < LEAST_PAIRS:
        return None
    return float(np.quantile(difference.abs().cpu().numpy(), 0.25)) / (QUARTILE * math.sqrt(2))
