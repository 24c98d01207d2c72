"""Photographs with a camera's noise to learn blind denoising from (:mod:`hybrid_dip.problem.camera`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.images import metrics
from hybrid_dip.images.files import load_image
from hybrid_dip.problem.camera import as_jpeg, draw_camera, take_photograph
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import blind_denoiser_of
from pretrained.model_card import photographs
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
    denoiser = blind_denoiser_of(network)
    psnr = [
        metrics.psnr(denoiser(noisy.to(device)).cpu().clamp(0, 1), clean)
        for noisy, clean in (_taken(image, number) for number, image in enumerate(images))
    ]
    return sum(psnr) / len(psnr)


def _taken(image: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Noisy and clean, by a camera that belongs to the number."""
    draw = torch.Generator().manual_seed(UNSEEN + number)
    even = image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2]
    return take_photograph(even, draw_camera(draw), draw)


@torch.no_grad()
def table(denoiser: Callable[[Tensor], Tensor], folder: Path) -> list[str]:
    """Measure a blind denoiser over a folder of photographs.

    Args:
        denoiser: x -> x.
        folder: Folder of photographs in colour.

    Returns:
        Mean PSNR of noisy photographs and of clean JPEG files of quality 95, before and after, as lines of Markdown.
    """
    pairs: list[list[tuple[float, float]]] = [[], []]
    for number, file in enumerate(tqdm(photographs(folder), desc="measuring", unit="image")):
        image = load_image(file)[:, :3]
        for kind, (noisy, clean) in enumerate((_taken(image, number), (as_jpeg(image, 95), image))):
            pairs[kind].append((metrics.psnr(noisy, clean), metrics.psnr(denoiser(noisy).clamp(0, 1), clean)))
    lines = ["| | before | after |", "|---|---|---|"]
    for what, found in zip(("by a camera", "without noise, JPEG 95"), pairs, strict=True):
        before, after = (sum(part) / len(part) for part in zip(*found, strict=True))
        lines.append(f"| {what} | {before:.2f} dB | {after:.2f} dB |")
    return lines
