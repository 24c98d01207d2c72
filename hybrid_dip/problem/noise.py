"""Noise: its kinds, a draw of each, and what that of one image is (:func:`estimate`)."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import fidelity
from hybrid_dip.problem.noise_by_detail import estimate_sigma
from hybrid_dip.problem.noise_estimate import Level, NoiseEstimate, estimate

__all__ = [
    "NOISES",
    "Level",
    "Noise",
    "NoiseEstimate",
    "add_gaussian",
    "add_photon_noise",
    "add_salt_and_pepper",
    "add_speckle",
    "estimate",
    "estimate_sigma",
    "estimated",
    "fraction",
]

Noise = Literal["gaussian", "poisson", "l1", "speckle", "camera"]

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


def estimated(task: Task) -> str:
    """What the noise of a task was found to be, in a sentence."""
    parts = [f"sigma was estimated as {255 * (task.noise_sigma or 0):.1f} (of 255)"]
    if task.precision is not None:
        least, most = (255 * float(level) for level in task.deviation.aminmax())
        parts.append(f"from {least:.1f} to {most:.1f} with the brightness")
    if task.reach > 1:
        parts.append(f"the noise of pixels up to {task.reach - 1} apart is alike")
    return "; ".join(parts) + "."
