"""z: the fixed input of the network. Each function draws or computes one, (1, C, H, W)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError

Size = tuple[int, int]


def _check(channels: int, size: Size) -> None:
    if channels < 1 or min(size) < 1:
        raise SettingsError(f"A latent needs at least one channel and one pixel, got {channels} channels of {size}.")


def uniform(channels: int, size: Size, scale: float = 0.1) -> Tensor:
    """Noise uniform on [0, scale]: the original's standard input, with 32 channels.

    Args:
        channels: C.
        size: (H, W).
        scale: Upper end of the interval.

    Returns:
        (1, C, H, W), float32, drawn from torch's global random state on the CPU.

    Raises:
        SettingsError: Nothing to draw.
    """
    _check(channels, size)
    return torch.zeros(1, channels, *size).uniform_() * scale


def normal(channels: int, size: Size, scale: float = 0.1) -> Tensor:
    """Gaussian noise of deviation ``scale``.

    Args:
        channels: C.
        size: (H, W).
        scale: Standard deviation.

    Returns:
        (1, C, H, W), float32, drawn from torch's global random state on the CPU.

    Raises:
        SettingsError: Nothing to draw.
    """
    _check(channels, size)
    return torch.zeros(1, channels, *size).normal_() * scale


def meshgrid(size: Size) -> Tensor:
    """Coordinates: channel 0 rises from 0 to 1 along the width, channel 1 along the height; smooth holes grow from it.

    Args:
        size: (H, W).

    Returns:
        (1, 2, H, W), float32.

    Raises:
        SettingsError: No pixels.
    """
    _check(2, size)
    height, width = size
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([x, y])[None]


def fourier(size: Size, frequencies: Sequence[float] = (1, 2, 4, 8, 16, 32)) -> Tensor:
    """Fourier features of the coordinates: sin and cos of 2 pi f x and 2 pi f y (Tancik et al. 2020; PIP, Shabtay et al. 2022).

    Args:
        size: (H, W).
        frequencies: f, in cycles per image.

    Returns:
        (1, 4 len(frequencies), H, W), float32.

    Raises:
        SettingsError: No pixels or no frequencies.
    """
    _check(len(frequencies), size)
    grid = meshgrid(size)
    waves = torch.cat([2 * math.pi * frequency * grid for frequency in frequencies], 1)
    return torch.cat([waves.sin(), waves.cos()], 1)


def image(guide: Tensor) -> Tensor:
    """An image as z, as in flash/no-flash restoration.

    Args:
        guide: (1, C, H, W).

    Returns:
        A copy, detached.

    Raises:
        SettingsError: Not one image.
    """
    if guide.ndim != 4 or guide.shape[0] != 1:
        raise SettingsError(f"An image as latent must have the shape (1, C, H, W), got {tuple(guide.shape)}.")
    return guide.detach().clone()
