"""Classical denoisers, as functions (x, sigma) -> x: for RED, plug-and-play and splitting solvers.

x is (1, C, H, W); sigma is the standard deviation of the noise to remove, in units of [0, 1], a number or (). They compute on
the CPU, by scikit-image, and have no gradient.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError


class Denoiser(Protocol):
    """Removes white Gaussian noise of a given level from an image. Any callable of this form is a denoiser."""

    def __call__(self, x: Tensor, sigma: float, /) -> Tensor:
        """Return an estimate of the clean image, of x's shape."""
        ...


def _by_array(x: Tensor, call: Callable[[Any], Any]) -> Tensor:
    """Apply a function of an (H, W, C) array."""
    array = x.detach()[0].movedim(0, -1).double().cpu().numpy()
    return torch.from_numpy(np.ascontiguousarray(call(array)).reshape(array.shape)).movedim(-1, 0)[None].to(x)


def bilateral(x: Tensor, sigma: float) -> Tensor:
    """The bilateral filter (Tomasi & Manduchi 1998) of each channel: window of 7, 2 pixels wide, 2 sigma deep.

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.
    """
    from skimage.restoration import denoise_bilateral

    def one(plane: Any) -> Any:
        lowest = plane.min()  # it takes no negative values
        return denoise_bilateral(plane - lowest, win_size=7, sigma_color=max(2 * sigma, 1e-4), sigma_spatial=2) + lowest

    return _by_array(x, lambda array: np.stack([one(plane) for plane in np.moveaxis(array, -1, 0)], -1))


def median(x: Tensor, sigma: float) -> Tensor:
    """The median of 3x3 pixels (Tukey 1977) in each channel, from sigma 20/255 on of 5x5.

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.
    """
    from scipy.ndimage import median_filter

    side = 5 if sigma >= 20 / 255 else 3
    return _by_array(x, lambda array: median_filter(array, size=(side, side, 1), mode="reflect"))


def wavelet(x: Tensor, sigma: float) -> Tensor:
    """Soft thresholds for the details of the wavelet db4, by BayesShrink (Chang, Yu & Vetterli 2000).

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.
    """
    from skimage.restoration import denoise_wavelet

    def smooth(array: Any) -> Any:
        return denoise_wavelet(array, sigma=sigma, wavelet="db4", mode="soft", method="BayesShrink", channel_axis=-1)

    return x.clone() if sigma <= 0 else _by_array(x, smooth)


def nlm(x: Tensor, sigma: float) -> Tensor:
    """Non-local means (Buades, Coll & Morel 2005), patches of 5, distances up to 6, h = 0.8 sigma.

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.
    """
    from skimage.restoration import denoise_nl_means

    def smooth(array: Any) -> Any:
        return denoise_nl_means(array, patch_size=5, patch_distance=6, h=max(0.8 * sigma, 1e-4), sigma=sigma, channel_axis=-1)

    return _by_array(x, smooth)


def nlm_channels(x: Tensor, sigma: float) -> Tensor:
    """Non-local means of each channel by itself, h = 0.6 sigma, otherwise as ``nlm``: the denoiser of DeepRED's code.

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.
    """
    from skimage.restoration import denoise_nl_means

    def one(plane: Any) -> Any:
        return denoise_nl_means(plane, patch_size=5, patch_distance=6, h=max(0.6 * sigma, 1e-4), sigma=sigma)

    return _by_array(x, lambda array: np.stack([one(plane) for plane in np.moveaxis(array, -1, 0)], -1))


def bm3d(x: Tensor, sigma: float) -> Tensor:
    """BM3D (Dabov et al. 2007) by its authors' package, the extra ``bm3d``, for non-commercial use only.

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.

    Raises:
        SettingsError: The package is not installed.
    """
    try:
        import bm3d as package
    except ImportError:
        raise SettingsError("The denoiser 'bm3d' needs its package: pip install 'hybrid-dip[bm3d]'.") from None
    call = package.bm3d_rgb if x.shape[1] == 3 else package.bm3d
    return x.clone() if sigma <= 0 else _by_array(x, lambda array: call(array, sigma))
