"""Learned perceptual distances as metrics: (x, reference) -> number, lower is better."""

from functools import partial

import torch
from torch import Tensor

from pretrained.perceptual import load_perceptual


def perceptual(x: Tensor, reference: Tensor, *, name: str) -> float:
    """A learned perceptual distance.

    Args:
        x: (1, C, H, W) in [0, 1], C 1 or 3.
        reference: Of the same shape.
        name: Of the distance, see :func:`pretrained.perceptual.load_perceptual`.

    Returns:
        At least 0, 0 for equal images.
    """
    with torch.no_grad():
        return float(load_perceptual(name)(x.float().cpu(), reference.float().cpu()))


stlpips_alex = partial(perceptual, name="stlpips-alex")
stlpips_vgg = partial(perceptual, name="stlpips-vgg")
lpips_alex = partial(perceptual, name="lpips-alex")
lpips_vgg = partial(perceptual, name="lpips-vgg")
lpips_squeeze = partial(perceptual, name="lpips-squeeze")
