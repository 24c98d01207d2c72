"""Photographs with noise of many kinds, to learn from what the noise of an image is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_dip.images.picture import quantise
from hybrid_dip.problem.camera import as_jpeg, demosaic, draw_camera, take_photograph
from pretrained.model_card import luminance
from pretrained.patches import draw_patches

Draw = torch.Generator


def between(low: float, high: float, draw: Draw) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand((), generator=draw))


def chance(share: float, draw: Draw) -> bool:
    """True in that share of the draws."""
    return float(torch.rand((), generator=draw)) < share


def level(draw: Draw) -> float:
    """A deviation from 0.5 to 80 of 255, low ones as often as high ones."""
    return math.exp(between(math.log(0.5), math.log(80), draw)) / 255


def gaussian(clean: Tensor, draw: Draw) -> Tensor:
    """White noise."""
    return clean + level(draw) * torch.randn(clean.shape, generator=draw)


def photons(clean: Tensor, draw: Draw) -> Tensor:
    """Shot noise of 3 to 10,000 photons at white, with or without the noise of reading."""
    peak = math.exp(between(math.log(3), math.log(10_000), draw))
    noisy = torch.poisson(clean * peak, generator=draw) / peak
    return noisy + (min(level(draw), 0.1) * torch.randn(clean.shape, generator=draw) if chance(0.5, draw) else 0)


def mosaic(clean: Tensor, draw: Draw) -> Tensor:
    """White noise on a Bayer mosaic, which demosaicing makes alike between neighbours."""
    noise = level(draw) * torch.randn(clean[:, :1].shape, generator=draw)
    return clean + demosaic(noise, malvar=chance(0.5, draw))  # demosaicing is linear


def none(clean: Tensor, draw: Draw) -> Tensor:
    """No noise."""
    return clean


KINDS: tuple[tuple[float, Callable[[Tensor, Draw], Tensor]], ...] = (
    (0.30, gaussian),
    (0.48, photons),
    (0.62, mosaic),
    (0.68, none),
)
"""Up to which share of the draws a kind is taken; a camera's noise from there on."""


@dataclass(frozen=True)
class NoisyPhotographs:
    """Photographs as bytes, to draw patches from and add noise to.

    Attributes:
        images: Photographs, (3, H, W) each.
        side: Side of a patch in pixels, a multiple of 8.
    """

    images: Sequence[Tensor]
    side: int

    def batch(self, size: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """Draw patches.

        Args:
            size: Number of patches.
            draw: Generator of the random numbers.

        Returns:
            Clean and noisy, (size, 3, side, side).
        """
        pairs = [pair(patch[None], draw) for patch in draw_patches(self.images, self.side, size, draw)]
        clean, noisy = (torch.cat(part) for part in zip(*pairs, strict=True))
        return clean, noisy


def pair(clean: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """A patch and the same with noise, both perhaps of another exposure, with few colours, or grey.

    Args:
        clean: (1, 3, H, W) in [0, 1].
        draw: Generator of the random numbers.

    Returns:
        Clean and noisy, of the same shape.
    """
    clean = varied(clean, draw)
    which = float(torch.rand((), generator=draw))
    kind = next((kind for share, kind in KINDS if which < share), None)
    if kind is None:
        noisy, clean = take_photograph(clean, draw_camera(draw), draw)
        return clean, noisy
    grey = kind is not mosaic and chance(0.25, draw)
    if grey:
        clean = luminance(clean).expand(-1, 3, -1, -1)
    noisy = kind(clean[:, :1], draw).expand(-1, 3, -1, -1) if grey else kind(clean, draw)
    if chance(0.35, draw):
        noisy = as_jpeg(noisy.clamp(0, 1), round(between(70, 98, draw)), chance(0.5, draw))
    elif chance(0.5, draw):
        noisy = torch.from_numpy(quantise(noisy.clamp(0, 1))).permute(2, 0, 1)[None] / 255
    return clean, noisy


def varied(clean: Tensor, draw: Draw) -> Tensor:
    """Darker, overexposed, enlarged, or with few colours, sometimes."""
    which = float(torch.rand((), generator=draw))
    if which < 0.15:
        return clean * between(0.1, 1, draw)
    if which < 0.25:
        return (clean * between(1, 3, draw)).clamp(0, 1)
    if which < 0.35:
        side = clean.shape[-1] // 2
        return torch.nn.functional.interpolate(clean[..., :side, :side], scale_factor=2, mode="bicubic").clamp(0, 1)
    if which < 0.45:
        steps = round(between(1, 5, draw))
        return (clean * steps).round() / steps
    return clean
