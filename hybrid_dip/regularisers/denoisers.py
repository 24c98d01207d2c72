"""Classical denoisers, as functions (x, sigma) -> x: for RED, plug-and-play and splitting solvers.

x is (1, C, H, W); sigma is the standard deviation of the noise to remove, in units of [0, 1], a number or (). They have no
gradient, and all but BM3D compute on the CPU.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError


class Denoiser(Protocol):
    """Removes white Gaussian noise of a given level from an image. Any callable of this form is a denoiser."""

    def __call__(self, x: Tensor, sigma: float, /) -> Tensor:
        """Return an estimate of the clean image, of x's shape."""
        ...


Given = TypeVar("Given", bound=Callable[..., Tensor])


def mark(
    *, takes_map: bool = False, takes_coarse: bool = False, network: Callable[[int], nn.Module] | None = None
) -> Callable[[Given], Given]:
    """Say of a denoiser what it can do beside (x, sigma) -> x; a class says it by attributes of these names.

    Args:
        takes_map: It takes a map of levels, (1, 1, H, W), as well as a number.
        takes_coarse: It is for noise that is alike between neighbours, and is told that noise's own deviation.
        network: Number of channels -> the torch module (x, sigma) -> x that it is, which can be fitted to an image.

    Returns:
        A decorator that returns the same denoiser.
    """

    def marked(denoiser: Given) -> Given:
        for name, value in (("takes_map", takes_map), ("takes_coarse", takes_coarse), ("network", network)):
            setattr(denoiser, name, value)
        return denoiser

    return marked


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


OPPONENT = torch.tensor([[2.0, 2.0, 2.0], [6**0.5, 0.0, -(6**0.5)], [2**0.5, -2 * 2**0.5, 2**0.5]]) / 12**0.5
"""Rows of length 1 at right angles: brightness and two differences of colour. White noise stays white, at the same level."""
GROUPS = 32
"""Groups of patches at a time on a CPU: what they are searched in stays in its cache."""


@cache
def _bm3d(device: str) -> Callable[[Tensor, float], Tensor]:
    try:
        from deepinv.models import BM3D
    except ImportError:
        raise SettingsError("The denoiser 'bm3d' needs DeepInverse: pip install 'hybrid-dip[deepinv]'.") from None
    found: Callable[[Tensor, float], Tensor] = BM3D(
        use_legacy=False, device=device, **({"chunk_size": GROUPS} if device == "cpu" else {})
    )
    return found


@torch.no_grad()
def bm3d(x: Tensor, sigma: float) -> Tensor:
    """BM3D (Dabov et al. 2007) by DeepInverse, the extra ``deepinv``, on the device of x.

    Three channels are denoised as brightness and two differences of colour, and patches compared by brightness, as CBM3D does
    (Dabov et al. 2007, "Color image denoising via sparse 3D collaborative filtering").

    Args:
        x: (1, C, H, W).
        sigma: Standard deviation of the noise, in units of [0, 1].

    Returns:
        The denoised image, of the same shape.

    Raises:
        SettingsError: The package is not installed.
    """
    denoise = _bm3d(str(x.device))
    if sigma <= 0:
        return x.clone()
    if x.shape[1] != 3:
        return denoise(x.float(), float(sigma)).to(x)
    basis = OPPONENT.to(x.device)
    found = denoise(torch.einsum("oc,bchw->bohw", basis, x.float()), float(sigma))
    return torch.einsum("oc,bohw->bchw", basis, found).to(x)
