"""Noise: its kinds, a draw of each, and an estimate of its level."""

import math
import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import fidelity

Noise = Literal["gaussian", "poisson", "l1", "speckle"]

NOISES = {"gaussian": fidelity.gaussian, "poisson": fidelity.poisson, "l1": fidelity.l1, "speckle": fidelity.speckle}
"""Kind of noise -> its fidelity."""


def add_gaussian(clean: Tensor, sigma: float, *, seed: int = 0, clip: bool = False) -> Tensor:
    """Add Gaussian noise.

    Args:
        clean: A tensor of any shape.
        sigma: Standard deviation in units of [0, 1], finite and at least 0.
        seed: Seed of the draw.
        clip: Clip to [0, 1], as the original does.

    Returns:
        The noisy tensor, of the same shape.

    Raises:
        SettingsError: Sigma is negative or not finite.
    """
    if not 0 <= sigma < math.inf:
        raise SettingsError(f"sigma must be a finite number of at least 0, got {sigma}.")
    noisy = clean + sigma * torch.randn(clean.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed))
    return noisy.clamp(0, 1) if clip else noisy


def add_photon_noise(clean: Tensor, peak: float, *, seed: int = 0) -> Tensor:
    """Count photons: y = Poisson(peak x) / peak.

    Args:
        clean: A tensor of any shape; values below 0 count as 0.
        peak: Mean number of photons at white, finite and above 0.
        seed: Seed of the draw.

    Returns:
        The noisy tensor, of the same shape.

    Raises:
        SettingsError: The peak is not above 0, or not finite.
    """
    if not 0 < peak < math.inf:
        raise SettingsError(f"peak must be a finite number of photons above 0, got {peak}.")
    return torch.poisson(clean.clamp(min=0) * peak, generator=torch.Generator().manual_seed(seed)) / peak


def add_salt_and_pepper(clean: Tensor, share: float, *, seed: int = 0) -> Tensor:
    """Set a share of the entries to 0 or 1, half of it each.

    Args:
        clean: A tensor of any shape.
        share: Share of the entries, in (0, 1).
        seed: Seed of the draw.

    Returns:
        The noisy tensor, of the same shape.

    Raises:
        SettingsError: The share is out of range.
    """
    half = fraction("share", share) / 2
    draw = torch.rand(clean.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed))
    return torch.where(draw < half, 0.0, torch.where(draw > 1 - half, 1.0, clean))


def add_speckle(clean: Tensor, looks: float, *, seed: int = 0) -> Tensor:
    """Multiply each entry by a draw of its own from a Gamma distribution of mean 1 and variance 1 / looks.

    Args:
        clean: Intensities, of any shape.
        looks: How many intensities are averaged, finite and above 0.
        seed: Seed of the draw.

    Returns:
        The noisy tensor, of the same shape.

    Raises:
        SettingsError: Looks is not above 0, or not finite.
    """
    if not 0 < looks < math.inf:
        raise SettingsError(f"looks must be a finite number above 0, got {looks}.")
    gamma = np.random.default_rng(seed).gamma(looks, 1 / looks, clean.shape)  # torch's takes no generator
    return clean * torch.from_numpy(gamma).to(clean.dtype)


def fraction(name: str, value: float) -> float:
    """A number that has to lie in (0, 1).

    Args:
        name: The name that the error gives it.
        value: The number.

    Returns:
        The number.

    Raises:
        SettingsError: It does not lie there.
    """
    if not 0 < value < 1:
        raise SettingsError(f"{name} must be a fraction in (0, 1), got {value}.")
    return value


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
