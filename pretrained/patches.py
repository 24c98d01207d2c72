"""Photographs to learn denoising from: noisy patches of them, and some that are held back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.files import load_image
from pretrained.denoisers import STRONGEST
from pretrained.model_card import content, luminance, photographs

GREY = 0.25
"""Share of grey patches."""
SCALES = (1.0, 0.8)
"""Scales of the photographs; at the smaller one detail is finer and JPEG artefacts are weaker."""
CAMERA_SCALES = (1.0, 0.6)
"""Scales of the photographs that cameras take; a lens that blurs leaves hardly any grain of their own."""
HELD_BACK = 8
"""Photographs that are not trained on, to measure progress."""


@dataclass(frozen=True)
class Photographs:
    """Photographs as bytes, to draw patches from.

    Attributes:
        images: Photographs, (3, H, W) each.
        side: Side of a patch in pixels.
    """

    images: Sequence[Tensor]
    side: int

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw patches, turned and mirrored, and make them noisy.

        Args:
            size: Number of patches.
            draw: Generator of the random numbers.

        Returns:
            Clean and noisy, (size, 3, side, side), and the noise level, (size, 1, 1, 1).
        """
        clean = draw_patches(self.images, self.side, size, draw)
        sigma = STRONGEST * torch.rand(size, 1, 1, 1, generator=draw)
        noise = torch.randn(clean.shape, generator=draw)
        grey = round(GREY * size)
        clean[:grey] = luminance(clean[:grey])
        noise[:grey] = noise[:grey, :1]
        return clean, clean + sigma * noise, sigma


def draw_patches(images: Sequence[Tensor], side: int, size: int, draw: torch.Generator) -> Tensor:
    """Draw patches, turned and mirrored.

    Args:
        images: Photographs as bytes, (3, H, W) each.
        side: Side of a patch in pixels.
        size: Number of patches.
        draw: Generator of the random numbers.

    Returns:
        (size, 3, side, side) in [0, 1].
    """

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=draw))

    patches = []
    for _ in range(size):
        image = images[below(len(images))]
        top, left = below(image.shape[1] - side + 1), below(image.shape[2] - side + 1)
        patch = image[:, top : top + side, left : left + side].rot90(below(4), (1, 2))
        patches.append(patch.flip(2) if below(2) else patch)
    return torch.stack(patches).float() / 255


def read(folder: Path, side: int, scales: Sequence[float] = SCALES) -> tuple[list[Tensor], list[Tensor], list[str]]:
    """Read a folder and the folders in it.

    Args:
        folder: Folder of photographs.
        side: Side of a patch in pixels; smaller photographs are left out.
        scales: Scales of the photographs.

    Returns:
        Photographs to train on, in all scales, as bytes (3, H, W); those held back, (1, 3, H, W); and the hashes by
        :func:`content` of both.

    Raises:
        ImageFileError: There are too few, or one cannot be read.
    """
    images = [load_image(path)[:, :3] for path in tqdm(photographs(folder), desc="reading", unit="image")]
    images = [image.expand(-1, 3, -1, -1) for image in images if min(image.shape[-2:]) >= side / min(scales)]
    if len(images) < HELD_BACK + 1:
        raise ImageFileError(f"{folder} has {len(images)} photographs of at least {side} pixels; {HELD_BACK + 1} are needed.")
    every = len(images) // HELD_BACK  # spread over the folder
    held = images[::every][:HELD_BACK]
    trained = [image for number, image in enumerate(images) if number % every or number // every >= HELD_BACK]
    scaled = [
        image if scale == 1 else F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)
        for image in trained
        for scale in scales
    ]
    return [(image[0].clamp(0, 1) * 255).round().byte() for image in scaled], held, [content(image) for image in images]
