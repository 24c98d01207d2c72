"""Photographs with a camera's noise to learn blind denoising from (:mod:`hybrid_dip.problem.camera`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_dip.images import metrics
from hybrid_dip.problem.camera import as_jpeg, draw_camera, take_photograph
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import blind_denoiser_of
from pretrained.patches import draw_patches

CLEAN = 0.15
"""Share of patches that are good files: nothing but JPEG of quality 90 to 98, half of them not even that."""
UNSEEN = 100
"""Seed of the cameras that measure progress: one for each photograph that is held back."""


@dataclass(frozen=True)
class CameraPhotographs:
    """Photographs as bytes, to draw patches from and take photographs of.

    Attributes:
        images: Photographs, (3, H, W) each.
        side: Side of a patch in pixels, even.
    """

    images: Sequence[Tensor]
    side: int

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw patches and take a photograph of each, by a camera of its own.

        Args:
            size: Number of patches.
            draw: Generator of the random numbers.

        Returns:
            Clean and noisy, (size, 3, side, side), and zeros for the level, (size, 1, 1, 1): nobody knows it.
        """
        pairs = [_pair(patch[None], draw) for patch in draw_patches(self.images, self.side, size, draw)]
        noisy, clean = (torch.cat(part) for part in zip(*pairs, strict=True))
        return clean, noisy, torch.zeros(size, 1, 1, 1)


def _pair(patch: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy and clean."""
    if float(torch.rand((), generator=draw)) < CLEAN:
        quality = int(torch.randint(90, 107, (), generator=draw))
        return (as_jpeg(patch, quality) if quality <= 98 else patch), patch
    return take_photograph(patch, draw_camera(draw), draw)


@torch.no_grad()
def quality(network: DenoisingNetwork, images: Sequence[Tensor]) -> float:
    """Mean PSNR of photographs by cameras that are the same each time, denoised blindly.

    Args:
        network: Network to measure.
        images: Clean photographs, (1, 3, H, W).

    Returns:
        The PSNR in dB.
    """
    device = next(network.parameters()).device
    denoiser, psnr = blind_denoiser_of(network), []
    for number, image in enumerate(images):
        draw = torch.Generator().manual_seed(UNSEEN + number)
        even = image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2]
        noisy, clean = take_photograph(even, draw_camera(draw), draw)
        psnr.append(metrics.psnr(denoiser(noisy.to(device)).cpu().clamp(0, 1), clean))
    return sum(psnr) / len(psnr)
