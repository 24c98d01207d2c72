"""Separable low-pass filters with a stride: the arithmetic behind every downsampler."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import SettingsError, nearest

Kernel = Literal["lanczos2", "lanczos3", "gauss12", "gauss1sq2", "box", "bicubic"]


def _lanczos(support: int) -> Callable[[Tensor], Tensor]:
    """The window sinc(t) sinc(t / support), for |t| < support."""
    return lambda t: torch.sinc(t) * torch.sinc(t / support)


def _gauss(variance: float) -> Callable[[Tensor], Tensor]:
    """The Gaussian of the original, with distances in units of two pixels."""
    return lambda d: torch.exp(-((d / 2) ** 2) / (2 * variance))


def _bicubic(t: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2, as in antialiased resizing, for |t| < 2."""
    t = t.abs()
    inner = 1.5 * t**3 - 2.5 * t**2 + 1
    outer = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, inner, outer)


# name -> (profile, reach in units of the profile's argument, whether the profile stretches with the factor)
_PROFILES: dict[str, tuple[Callable[[Tensor], Tensor], float, bool]] = {
    "lanczos2": (_lanczos(2), 2, True),
    "lanczos3": (_lanczos(3), 3, True),
    "bicubic": (_bicubic, 2, True),
    "box": (torch.ones_like, 0.5, True),
    "gauss12": (_gauss(0.25), 3, False),
    "gauss1sq2": (_gauss(0.5), 4, False),
}
KERNELS = tuple(_PROFILES)


def default_phase(kernel: str) -> float:
    """Phase of a kernel in the original: 0 for the Gaussians, 0.5 (the centre of each block) for the rest."""
    return 0.0 if kernel.startswith("gauss") else 0.5


def taps(factor: int, kernel: str, phase: float) -> tuple[Tensor, int]:
    """The one-dimensional filter of a downsampler; the two-dimensional one is its outer product.

    Output sample i looks at position i * factor + phase * (factor - 1) of the input: the first pixel of each block for
    phase 0, the centre of the block for phase 0.5. The filter is the profile sampled at the pixels around that position. For
    even factors, and for phase 0, this is the filter of the original implementation. For odd factors at phase 0.5 the original
    sits half a pixel beside the centre and loses a row; this one does neither.

    Args:
        factor: The stride, at least 1.
        kernel: One of :data:`KERNELS`.
        phase: A number in [0, 1].

    Returns:
        The taps, (k,), float64, summing to one; and the offset of the first tap from the first pixel of its block (<= 0).

    Raises:
        SettingsError: The kernel is unknown, or the factor or the phase is out of range.
    """
    if kernel not in _PROFILES:
        raise SettingsError(f"Unknown downsampling kernel '{kernel}': {nearest(kernel, list(_PROFILES))}.")
    if factor < 1:
        raise SettingsError(f"The factor of a downsampler must be a whole number of at least 1, got {factor}.")
    if not 0 <= phase <= 1:
        raise SettingsError(f"The phase of a downsampler must lie in [0, 1], got {phase}.")
    profile, reach, stretches = _PROFILES[kernel]
    unit = factor if stretches else 1
    centre = phase * (factor - 1)
    # The small margin keeps a last tap that rounding would drop or add by chance.
    first = math.ceil(centre - reach * unit - 1e-9)
    last = math.floor(centre + reach * unit + 1e-9)
    distance = torch.arange(first, last + 1, dtype=torch.float64) - centre
    weights = profile(distance / unit)
    if kernel == "box" and phase != 0.5:
        raise SettingsError(f"The box kernel averages whole blocks, so its phase must be 0.5, got {phase}.")
    return weights / weights.sum(), first


def filter_and_stride(x: Tensor, weights: Tensor, offset: int, factor: int) -> Tensor:
    """Filter both axes with ``weights`` and keep every ``factor``-th sample; borders are replicated.

    Args:
        x: (N, C, H, W).
        weights: (k,), of any type; converted to that of x.
        offset: Position of the first tap relative to the first pixel of a block.
        factor: The stride.

    Returns:
        (N, C, ceil(H / factor), ceil(W / factor)).
    """
    channels = x.shape[1]
    kernel = weights.to(x)
    for axis, shape in ((2, (-1, 1)), (3, (1, -1))):
        size = x.shape[axis]
        count = -(-size // factor)
        after = max(0, (count - 1) * factor + offset + len(weights) - size)
        padding = (0, 0, -offset, after) if axis == 2 else (-offset, after, 0, 0)
        stride = (factor, 1) if axis == 2 else (1, factor)
        padded = F.pad(x, padding, mode="replicate")
        x = F.conv2d(padded, kernel.view(1, 1, *shape).expand(channels, 1, -1, -1), stride=stride, groups=channels)
    return x
