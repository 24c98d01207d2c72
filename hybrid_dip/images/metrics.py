"""Metrics: how near an image is to a reference. Pure functions of two images of any kind and a data range."""

import math
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import pad

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.kinds import AnyImage, as_tensor


def _pair(x: AnyImage, reference: AnyImage) -> tuple[Tensor, Tensor]:
    """The two as tensors of one shape, on the CPU."""
    image, truth = as_tensor(x, "The image to measure").cpu(), as_tensor(reference, "The reference").cpu()
    if image.shape != truth.shape:
        raise SettingsError(
            f"A metric compares images of one shape, got {tuple(image.shape)} and a reference of {tuple(truth.shape)}."
        )
    return image, truth


def psnr(x: AnyImage, reference: AnyImage, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE), over all entries.

    Args:
        x: A tensor of any shape, or an image of another kind; whole numbers are scaled by their type.
        reference: Another of the same shape.
        data_range: Largest minus smallest possible value.

    Returns:
        Decibels; infinity for equal images.

    Raises:
        SettingsError: The shapes differ.
    """
    image, truth = _pair(x, reference)
    mse = float((image.double() - truth.double()).square().mean())
    return math.inf if mse == 0 else 10 * math.log10(data_range**2 / mse)


SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels, cut off at three and a half deviations."""


def ssim(x: AnyImage, reference: AnyImage, data_range: float = 1.0) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window of deviation 1.5, mean over pixels and channels.

    At the border the images are continued by reflection, so that every pixel counts.

    Args:
        x: (N, C, H, W), with sides of at least 11 pixels.
        reference: A tensor of the same shape.
        data_range: Largest minus smallest possible value.

    Returns:
        A number of at most 1.

    Raises:
        SettingsError: The shapes differ, or an image is smaller than the window.
    """
    from skimage.metrics import structural_similarity

    x, reference = _pair(x, reference)
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise SettingsError(f"SSIM needs at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, got {x.shape[-1]}x{x.shape[-2]}.")
    border = (SSIM_WINDOW // 2,) * 4  # scikit-image leaves out the mean over a border of that width
    # In single precision the variances of flat regions would be off by more than the formula's constants allow.
    continued = [pad(images.double(), border, mode="reflect").numpy() for images in (x, reference)]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return fmean(
        structural_similarity(*pair, data_range=data_range, channel_axis=0, **gaussian) for pair in zip(*continued, strict=True)
    )


MS_SSIM_SIDE = 176
"""The smallest of five scales, each half as large as the one before, is then as large as the window of 11 pixels."""


def ms_ssim(x: AnyImage, reference: AnyImage, data_range: float = 1.0) -> float:
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), five scales with their weights.

    Args:
        x: (1, C, H, W), with sides of at least 176 pixels.
        reference: A tensor of the same shape.
        data_range: Largest minus smallest possible value.

    Returns:
        A number of at most 1.

    Raises:
        SettingsError: The shapes differ, or an image is too small for five scales.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    x, reference = _pair(x, reference)
    if min(x.shape[-2:]) < MS_SSIM_SIDE:
        raise SettingsError(
            f"MS-SSIM needs at least {MS_SSIM_SIDE}x{MS_SSIM_SIDE} pixels for its five scales, got "
            f"{x.shape[-1]}x{x.shape[-2]}; take ssim."
        )
    return float(multiscale_structural_similarity_index_measure(x.double(), reference.double(), data_range=data_range))


def luma(x: Tensor) -> Tensor:
    """The Y channel of ITU-R BT.601 as the super-resolution literature measures it, (16 + 65.481 R + ...) / 255.

    Args:
        x: (N, 3, H, W) in [0, 1]; a single channel is returned as it is.

    Returns:
        (N, 1, H, W).

    Raises:
        SettingsError: The image has neither one nor three channels.
    """
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise SettingsError(f"Luma is defined for 1 or 3 channels, got {x.shape[1]}.")
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return ((x * weights).sum(1, keepdim=True) + 16) / 255


def psnr_y(x: AnyImage, reference: AnyImage, border: int = 4) -> float:
    """PSNR of the Y channel without a border, as papers on super-resolution measure it.

    They leave out as many pixels as the factor. So do commands and studies, unless a border is named: ``psnr_y:border=4``.

    Args:
        x: (1, C, H, W) in [0, 1], C 1 or 3.
        reference: A tensor of the same shape.
        border: Pixels left out along each side; 4 is that of figures for a factor of 4.

    Returns:
        Decibels.

    Raises:
        SettingsError: The shapes differ, or the border is below 0 or leaves nothing.
    """
    x, reference = _pair(x, reference)
    if not 0 <= 2 * border < min(x.shape[-2:]):
        size = f"{x.shape[-1]}x{x.shape[-2]}"
        raise SettingsError(f"psnr_y needs a border of at least 0 that leaves something of {size} pixels, got {border}.")
    inner = (..., slice(border, x.shape[-2] - border), slice(border, x.shape[-1] - border))
    return psnr(luma(x)[inner], luma(reference)[inner])
