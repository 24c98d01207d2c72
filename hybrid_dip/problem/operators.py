"""A: forward operators, each a differentiable module from an image (N, C, H, W) to what was measured of it."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.problem import resampling


class Identity(nn.Module):
    """A x = x: denoising, and inpainting, whose mask is the weight of the fidelity."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


class Downsample(nn.Module):
    """Low-pass filter, then keep every ``factor``-th pixel; borders are replicated.

    The kernels of the original (its Lanczos kernels stretch with the factor, its Gaussians do not), a block average, and
    antialiased bicubic. See :func:`hybrid_dip.problem.resampling.taps` for the geometry.

    Args:
        factor: Whole number, at least 1.
        kernel: "lanczos2", "lanczos3", "gauss12" (deviation 1/2), "gauss1sq2" (deviation 1/sqrt 2), "box" or "bicubic".
        phase: 0 samples at the first pixel of a block, 0.5 at its centre; None takes the original's: 0 for the Gaussians,
            0.5 for the rest.

    Raises:
        SettingsError: A factor below 1, an unknown kernel, a phase outside [0, 1].
    """

    taps: Tensor

    def __init__(self, factor: int = 4, kernel: resampling.Kernel = "lanczos2", phase: float | None = None):
        super().__init__()
        self.factor = factor
        self.kernel = kernel
        self.phase = resampling.default_phase(kernel) if phase is None else phase
        weights, self.offset = resampling.taps(factor, kernel, self.phase)
        self.register_buffer("taps", weights.float(), persistent=False)

    @property
    def kernel_2d(self) -> Tensor:
        """The two-dimensional filter, (k, k), summing to one."""
        return torch.outer(self.taps, self.taps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the small image, (N, C, ceil(H / factor), ceil(W / factor))."""
        return resampling.filter_and_stride(x, self.taps, self.offset, self.factor)


class Blur(nn.Module):
    """Convolution with a known point spread function, the same for all channels; borders are replicated.

    Args:
        psf: (h, w), not negative, at least one entry above 0; it is divided by its sum. An even side gets a row or column
            of zeros at its end, so that the kernel has a centre.

    Raises:
        SettingsError: The PSF is not a plane of finite numbers of at least 0, or sums to 0.
    """

    psf: Tensor

    def __init__(self, psf: Tensor):
        super().__init__()
        if psf.ndim != 2 or not bool(torch.isfinite(psf).all()) or bool((psf < 0).any()) or float(psf.sum()) == 0:
            raise SettingsError(
                "A point spread function must be a plane (h, w) of finite numbers of at least 0 with a sum above 0, "
                f"got shape {tuple(psf.shape)}, sum {float(psf.sum()):.3g}."
            )
        height, width = psf.shape
        odd = F.pad(psf.double(), (0, 1 - width % 2, 0, 1 - height % 2))
        self.register_buffer("psf", (odd / odd.sum()).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the blurred image, of the shape of x."""
        height, width = self.psf.shape
        padded = F.pad(x, (width // 2, width // 2, height // 2, height // 2), mode="replicate")
        # conv2d correlates; a convolution needs the kernel turned round.
        kernel = self.psf.flip(0, 1).to(x).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(padded, kernel, groups=x.shape[1])


WIDEST_GAUSSIAN = 300
"""In pixels; its filter has 1801 x 1801 taps."""


def gaussian_psf(sigma: float) -> Tensor:
    """A Gaussian point spread function, cut off at three deviations.

    Args:
        sigma: Standard deviation in pixels, above 0 and at most :data:`WIDEST_GAUSSIAN`.

    Returns:
        (k, k) with odd k, summing to one.

    Raises:
        SettingsError: Sigma is not above 0, or too large.
    """
    if not 0 < sigma <= WIDEST_GAUSSIAN:
        raise SettingsError(f"A Gaussian PSF needs a deviation above 0 and at most {WIDEST_GAUSSIAN} pixels, got {sigma}.")
    reach = max(1, round(3 * sigma))
    row = torch.exp(-(torch.arange(-reach, reach + 1).double() ** 2) / (2 * sigma**2))
    return (torch.outer(row, row) / row.sum() ** 2).float()


class GaussianBlur(Blur):
    """Blur by :func:`gaussian_psf`.

    Args:
        sigma: Standard deviation in pixels.

    Raises:
        SettingsError: Sigma is not above 0, or too large.
    """

    def __init__(self, sigma: float = 1.0):
        super().__init__(gaussian_psf(sigma))


BAYER_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


class Mosaic(nn.Module):
    """The Bayer colour filter array: of each pixel only one of the three channels is measured.

    Args:
        pattern: Which channel at the pixels (0, 0), (0, 1), (1, 0), (1, 1): "RGGB", "BGGR", "GRBG" or "GBRG".

    Raises:
        SettingsError: Unknown pattern.
    """

    tile: Tensor

    def __init__(self, pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB"):
        super().__init__()
        if pattern not in BAYER_PATTERNS:
            raise SettingsError(f"Unknown Bayer pattern '{pattern}': {nearest(pattern, list(BAYER_PATTERNS))}.")
        self.pattern = pattern
        channels = torch.tensor(["RGB".index(letter) for letter in pattern]).view(2, 2)
        self.register_buffer("tile", channels, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mosaic, (N, 1, H, W), of x (N, 3, H, W)."""
        if x.shape[1] != 3:
            raise SettingsError(f"A Bayer mosaic is taken of 3 channels, got {x.shape[1]}.")
        height, width = x.shape[-2:]
        index = self.tile.repeat(-(-height // 2), -(-width // 2))[:height, :width]
        return x.gather(1, index.expand(len(x), 1, height, width))


def adjoint(forward: Callable[[Tensor], Tensor], y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A^T y of a linear operator, by automatic differentiation.

    Args:
        forward: A, linear and differentiable.
        y: Of the shape of A's output.
        shape: Of A's input.

    Returns:
        Of ``shape``.
    """
    x = torch.zeros(shape, dtype=y.dtype, device=y.device, requires_grad=True)
    return torch.autograd.grad(forward(x), x, y)[0]
