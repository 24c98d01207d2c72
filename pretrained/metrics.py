"""Learned perceptual distances as metrics: (x, reference) -> number, lower is better."""

from functools import partial

import torch
from torch import Tensor

from pretrained.perceptual import load_perceptual


def perceptual(x: Tensor, reference: Tensor, *, name: str) -> float:
    """A learned perceptual distance.

    Args:
        x: (1, C, H, W) in [0, 1], C 1 or 3.
        reference: The image to compare with, of the same shape.
        name: Name of the distance, see :func:`pretrained.perceptual.load_perceptual`.

    Returns:
        The distance, at least 0, and 0 for equal images.
    """
    with torch.no_grad():
        return float(load_perceptual(name)(x.float().cpu(), reference.float().cpu()))


stlpips_alex = partial(perceptual, name="stlpips-alex")
"""Shift-tolerant LPIPS with AlexNet (Ghildyal & Liu 2022); lower is better."""
stlpips_vgg = partial(perceptual, name="stlpips-vgg")
"""Shift-tolerant LPIPS with VGG16 (Ghildyal & Liu 2022); lower is better."""
lpips_alex = partial(perceptual, name="lpips-alex")
"""LPIPS with AlexNet (Zhang et al. 2018); lower is better."""
lpips_vgg = partial(perceptual, name="lpips-vgg")
"""LPIPS with VGG16 (Zhang et al. 2018); lower is better."""
lpips_squeeze = partial(perceptual, name="lpips-squeeze")
"""LPIPS with SqueezeNet (Zhang et al. 2018); lower is better."""
