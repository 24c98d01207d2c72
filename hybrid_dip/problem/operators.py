"""A: forward operators, each a differentiable module from an image (N, C, H, W) to what was measured of it.

What an operator can do it says itself, in its attribute ``locality``. Nothing else asks of which class an operator is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, check_kind, nearest, whole_number
from hybrid_dip.problem import resampling


@dataclass(frozen=True)
class Locality:
    """Which pixels of the image an entry of y depends on: a block of its own, and what is near it.

    The block of y[..., i, j] is the ``stride`` x ``stride`` pixels from (i stride, j stride) on. A does the same everywhere, so
    that it can be applied to a tile of the image as well.

    Attributes:
        stride: Pixels of the image from one entry of y to the next.
        reach: How many pixels beyond its own block an entry depends on, at most.
        period: Pixels after which A, or what is known of the image beside it, repeats itself: 2 for a Bayer mosaic, 8 or 16 for
            the blocks of JPEG. Tiles begin at multiples of it.
        averages: Whether an entry is a mean of several pixels, so that y does not show the image's finest detail.
        identity: Whether A x = x.

    Raises:
        SettingsError: A number out of range, or an identity that does something.
    """

    stride: int = 1
    reach: int = 0
    period: int = 1
    averages: bool = False
    identity: bool = False

    @property
    def multiple(self) -> int:
        """Tiles begin at multiples of this many pixels: whole blocks, whole periods."""
        return math.lcm(self.stride, self.period)

    @property
    def margin(self) -> int:
        """Pixels from the border of a tile to the first block that depends on none beyond it."""
        return -(-self.reach // self.stride) * self.stride

    def __post_init__(self) -> None:
        if min(self.stride, self.period) < 1 or self.reach < 0:
            raise SettingsError(f"A locality has a stride and a period of at least 1 and a reach of at least 0, got {self}.")
        if self.identity and (self.stride, self.reach, self.averages) != (1, 0, False):
            raise SettingsError(f"The identity has stride 1 and reach 0, and averages nothing, got {self}.")


def locality_of(forward: Callable[[Tensor], Tensor]) -> Locality | None:
    """What an operator says of itself.

    Args:
        forward: A.

    Returns:
        Its attribute ``locality``; None where it has none, so that A has to be taken for a map of the whole image.

    Raises:
        SettingsError: The attribute is something else.
    """
    locality = getattr(forward, "locality", None)
    if not isinstance(locality, Locality | None):
        raise SettingsError(f"An operator's locality is an hd.operators.Locality, got {type(locality).__name__}.")
    return locality


def shows_image(task: Task) -> bool:
    """Whether y is the whole image but for its noise.

    Args:
        task: The task.

    Returns:
        True where A is the identity and every pixel was measured.
    """
    locality = locality_of(task.forward)
    return locality is not None and locality.identity and task.weight is None


def border_of(task: Task) -> int | None:
    """How many pixels papers leave out along each side where they measure what comes of a task.

    Args:
        task: The task.

    Returns:
        The factor of super-resolution; None for other tasks.
    """
    locality = locality_of(task.forward)
    return locality.stride if task.name == "super-resolve" and locality is not None else None


class Identity(nn.Module):
    """A x = x: denoising, and inpainting, whose mask is the weight of the fidelity."""

    locality = Locality(identity=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


class Downsample(nn.Module):
    """Low-pass filter, then keep every ``factor``-th pixel; borders are replicated.

    The kernels are those of the original (Lanczos kernels stretch with the factor, Gaussians do not), a block average, and
    antialiased bicubic. See :func:`hybrid_dip.problem.resampling.taps` for the geometry.

    Args:
        factor: Whole number, at least 1.
        kernel: "lanczos2", "lanczos3", "gauss12" (deviation 1/2), "gauss1sq2" (deviation 1/sqrt 2), "box" or "bicubic".
        phase: 0 samples at the first pixel of a block, 0.5 at its centre; None takes that of the original: 0 for the Gaussians,
            0.5 for the rest.

    Raises:
        SettingsError: The factor is below 1, the kernel unknown, or the phase outside [0, 1].
    """

    taps: Tensor

    def __init__(self, factor: int = 4, kernel: resampling.Kernel = "lanczos2", phase: float | None = None):
        super().__init__()
        check_kind("A downsampling kernel", kernel, str, "a name such as lanczos2")
        self.factor = factor = whole_number("The factor of a downsampler", factor)
        self.kernel = kernel
        self.phase = resampling.default_phase(kernel) if phase is None else phase
        weights, self.offset = resampling.taps(factor, kernel, self.phase)
        self.register_buffer("taps", weights.float(), persistent=False)

    @property
    def kernel_2d(self) -> Tensor:
        """The two-dimensional filter, (k, k), summing to one."""
        return torch.outer(self.taps, self.taps)

    @property
    def locality(self) -> Locality:
        """Half the filter on either side, and a block more."""
        reach = (-(-len(self.taps) // (2 * self.factor)) + 1) * self.factor
        return Locality(stride=self.factor, reach=reach, averages=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the small image, (N, C, ceil(H / factor), ceil(W / factor))."""
        return resampling.filter_and_stride(x, self.taps, self.offset, self.factor)


class Blur(nn.Module):
    """Convolution with a known point spread function, the same for all channels; borders are replicated.

    Args:
        psf: A tensor or array (h, w), at least 0 and somewhere above; it is divided by its sum. An even side gets a row or
            column of zeros at its end, so that the kernel has a centre.

    Raises:
        SettingsError: The PSF is not a plane of finite numbers of at least 0, or sums to 0.
    """

    psf: Tensor

    def __init__(self, psf: Tensor | npt.NDArray[Any]):
        super().__init__()
        if isinstance(psf, np.ndarray):
            psf = torch.from_numpy(np.array(psf, dtype=np.float32))
        check_kind("A point spread function", psf, Tensor, "a tensor or array (h, w), such as hd.operators.gaussian_psf gives")
        if psf.ndim != 2 or not bool(torch.isfinite(psf).all()) or bool((psf < 0).any()) or float(psf.sum()) == 0:
            raise SettingsError(
                "A point spread function must be a plane (h, w) of finite numbers of at least 0 with a sum above 0, "
                f"got shape {tuple(psf.shape)}, sum {float(psf.sum()):.3g}."
            )
        height, width = psf.shape
        odd = F.pad(psf.double(), (0, 1 - width % 2, 0, 1 - height % 2))
        self.register_buffer("psf", (odd / odd.sum()).float(), persistent=False)

    @property
    def locality(self) -> Locality:
        """Half the longer side of the PSF."""
        return Locality(reach=max(self.psf.shape) // 2, averages=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the blurred image, of the shape of x."""
        height, width = self.psf.shape
        padded = F.pad(x, (width // 2, width // 2, height // 2, height // 2), mode="replicate")
        # conv2d correlates; a convolution needs the kernel turned round.
        kernel = self.psf.flip(0, 1).to(x).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(padded, kernel, groups=x.shape[1])


WIDEST_GAUSSIAN = 300
"""The largest deviation in pixels; its filter has 1801 x 1801 taps."""


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
    """Blur by a Gaussian of a deviation in pixels.

    Args:
        sigma: Standard deviation in pixels.

    Raises:
        SettingsError: Sigma is not above 0, or too large.
    """

    def __init__(self, sigma: float = 1.0):
        super().__init__(gaussian_psf(sigma))


BAYER_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


class Mosaic(nn.Module):
    """The Bayer colour filter array: only one of the three channels is measured at each pixel.

    Args:
        pattern: The channels at the pixels (0, 0), (0, 1), (1, 0), (1, 1): "RGGB", "BGGR", "GRBG" or "GBRG".

    Raises:
        SettingsError: The pattern is unknown.
    """

    locality = Locality(period=2)
    tile: Tensor

    def __init__(self, pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB"):
        super().__init__()
        check_kind("A Bayer pattern", pattern, str, "a name such as RGGB")
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
        forward: A, linear and differentiable; what is constant in it does not matter.
        y: A tensor of the shape of A's output.
        shape: The shape of A's input.

    Returns:
        A^T y, of that shape.
    """
    with torch.enable_grad():
        x = torch.zeros(shape, dtype=y.dtype, device=y.device, requires_grad=True)
        return torch.autograd.grad(forward(x), x, y)[0]
