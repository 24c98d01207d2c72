"""An image beside what its file or object has besides the colours, and numbers (H, W, C) <-> tensors (1, C, H, W)."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Record
from hybrid_dip.images.compression import Compression
from hybrid_dip.images.deep_formats import Array
from hybrid_dip.images.properties import Properties


@dataclass(frozen=True, eq=False, repr=False)
class Picture(Record):
    """Content of an image file.

    Attributes:
        pixels: (1, C, H, W), float32, [0, 1]; arrays from ``.npy`` may leave that range.
        alpha: (1, 1, H, W) in [0, 1], or None.
        bits: Depth to write a result in, 8 or 16.
        is_array: Whether it came from a ``.npy`` file.
        about: Its colour profile, resolution and dates.
        compression: How a JPEG file quantised the pixels; None for other files.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    is_array: bool = False
    about: Properties = field(default_factory=Properties)
    compression: Compression | None = None

    def cut(self, top: int, left: int, height: int, width: int) -> "Picture":
        """A part of the picture, with all that belongs to it."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return replace(
            self,
            pixels=self.pixels[..., rows, columns],
            alpha=None if self.alpha is None else self.alpha[..., rows, columns],
            compression=None if self.compression is None else self.compression.cut(top, left),
        )

    def alpha_at(self, size: tuple[int, int]) -> Tensor | None:
        """The alpha channel at (H, W), interpolated where the picture has another size."""
        if self.alpha is None or tuple(self.alpha.shape[-2:]) == size:
            return self.alpha
        return F.interpolate(self.alpha, size, mode="bicubic", antialias=True).clamp(0, 1)


def quantise(x: Tensor) -> npt.NDArray[np.uint8]:
    """The values that an 8-bit file holds of an image.

    Args:
        x: (1, C, H, W); values outside [0, 1] are clamped.

    Returns:
        (H, W, C), from 0 to 255.
    """
    return rounded(planes(x), 255).astype(np.uint8)


def planes(x: Tensor) -> Array:
    """(1, C, H, W) -> (H, W, C)."""
    return x.detach().cpu().float()[0].permute(1, 2, 0).numpy()


def rounded(array: Array, largest: int) -> Array:
    """Values in [0, 1], clamped, as whole numbers up to the largest."""
    whole: Array = np.rint(np.clip(array, 0, 1) * largest)
    return whole


def to_tensor(array: Array) -> Tensor:
    """(H, W, C) or (H, W) -> (1, C, H, W)."""
    three = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(three.astype(np.float32))).permute(2, 0, 1)[None].contiguous()


def split_alpha(values: Array, white: int, bits: int, about: Properties, has_alpha: bool | None = None) -> Picture:
    """Split numbers into colour and alpha.

    Args:
        values: (H, W) or (H, W, C).
        white: The value of white.
        bits: Depth to write a result in.
        about: The file's properties.
        has_alpha: Whether the last channel is alpha; None: of two and of four channels it is.

    Returns:
        The picture.
    """
    x = to_tensor(values / white)
    if has_alpha if has_alpha is not None else x.shape[1] in (2, 4):
        return Picture(x[:, :-1].contiguous(), x[:, -1:].contiguous(), bits, about=about)
    return Picture(x, None, bits, about=about)
