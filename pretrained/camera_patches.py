"""Photographs with a camera's noise to learn denoising from (:mod:`hybrid_dip.problem.camera`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.images import metrics
from hybrid_dip.images.files import load_image
from hybrid_dip.problem.camera import as_jpeg, draw_camera, take_photograph
from hybrid_dip.problem.noise_network import noise_network
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import camera_denoiser_of
from pretrained.model_card import photographs
from pretrained.patches import draw_patches

CLEAN = 0.25
"""Share of patches that are good files: nothing but JPEG of quality 90 to 98, half of them not even that."""
OFF = 0.2
"""How far off the level is that the network is told, on a logarithmic scale."""
AROUND = 31
"""Side in pixels of what is around a pixel."""
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
            Clean and noisy, (size, 3, side, side), and the level that the denoiser is told, (size, 1, side, side). It is the
            deviation of the noise around each pixel, as far off as an estimate may be; of good files it is what
            :func:`noise_network` reads, which takes fine detail for noise: they are to be left alone all the same.
        """
        pairs = [_pair(patch[None], draw) for patch in draw_patches(self.images, self.side, size, draw)]
        noisy, clean = torch.cat([noisy for noisy, _, _ in pairs]), torch.cat([clean for _, clean, _ in pairs])
        wrong = (OFF * torch.randn(size, 1, 1, 1, generator=draw)).exp()
        good = torch.tensor([good for _, _, good in pairs]).view(-1, 1, 1, 1)
        return clean, noisy, wrong * torch.where(good, level_read(noisy), deviation_around(noisy - clean))


@torch.no_grad()
def level_read(images: Tensor) -> Tensor:
    """The deviation of the noise as the network for it reads images (N, 3, H, W), one number for each: (N, 1, 1, 1)."""
    variance: Tensor = noise_network()(images).variance
    return variance.mean((1, 2, 3)).sqrt().view(-1, 1, 1, 1)


def deviation_around(noise: Tensor) -> Tensor:
    """Deviation over all channels and the pixels around each: (N, C, H, W) -> (N, 1, H, W)."""
    energy = noise.square().mean(1, keepdim=True)
    return F.avg_pool2d(energy, AROUND, 1, AROUND // 2, count_include_pad=False).sqrt()


def _pair(patch: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, bool]:
    """Noisy and clean, and whether it is a good file."""
    if float(torch.rand((), generator=draw)) < CLEAN:
        quality = int(torch.randint(90, 107, (), generator=draw))
        return (as_jpeg(patch, quality) if quality <= 98 else patch), patch, True
    return *take_photograph(patch, draw_camera(draw), draw), False


@torch.no_grad()
def quality(network: DenoisingNetwork, images: Sequence[Tensor]) -> float:
    """Mean PSNR of photographs by cameras that are the same each time, denoised at the level that each image tells.

    Args:
        network: Network to measure.
        images: Clean photographs, (1, 3, H, W).

    Returns:
        The PSNR in dB.
    """
    device = next(network.parameters()).device
    denoiser = camera_denoiser_of(network)
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
    """Measure a denoiser of cameras' noise over a folder of photographs.

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
