"""What the image of a deepinv physics is, and what of it is a real image (1, C, H, W) with values near 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError


@dataclass(frozen=True)
class Layout:
    """How an image of a physics lies in the channels of a real image.

    Depth and time are channels. Of a complex image the real parts come first, then the imaginary parts.

    Attributes:
        shape: (C, ..., H, W) of the physics' image.
        dtype: Its type, real or complex.

    Raises:
        SettingsError: The image has no channels, height and width.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if len(self.shape) < 3:
            raise SettingsError(f"The image of a physics must have the shape (C, ..., H, W), got {self.shape}.")

    @property
    def plain(self) -> bool:
        """Whether the two are the same."""
        return len(self.shape) == 3 and not self.dtype.is_complex

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Shape of the real image."""
        count = math.prod(self.shape[:-2]) * (2 if self.dtype.is_complex else 1)
        return 1, count, self.shape[-2], self.shape[-1]

    def image(self, x: Tensor) -> Tensor:
        """Make the physics' image (1, C, ..., H, W) of a real one (1, C', H, W), or of a tile of it."""
        whole = torch.complex(*x.chunk(2, 1)) if self.dtype.is_complex else x
        return whole.reshape(len(x), *self.shape[:-2], *x.shape[-2:]).to(self.dtype)


@dataclass(frozen=True)
class Units:
    """What the values of a real image are worth: least + size x.

    Attributes:
        size: What 1 is worth.
        least: What 0 is worth.
    """

    size: float = 1.0
    least: float = 0.0

    def of(self, x: Tensor) -> Tensor:
        """Return the values of x in the units of the physics."""
        return x if self == Units() else self.least + self.size * x


def parts_of(y: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The measurements of a batch: one tensor, or one for each of several stacked physics; each of shape (B, ...)."""
    return [y] if isinstance(y, Tensor) else list(y)


@torch.no_grad()
def layout_of(
    y: Tensor | Sequence[Tensor], physics: nn.Module, shape: Sequence[int] | None, real: bool
) -> tuple[Layout, list[Units]]:
    """Find what the images of a batch are, and units in which their values are near 1.

    Args:
        y: Measurements, in units of A x.
        physics: The physics.
        shape: (C, ..., H, W); None for that of the adjoint.
        real: Whether the image is real, though the adjoint of a real image's measurements may be complex.

    Returns:
        The layout, and for each image its units: for a linear physics a power of ten near the largest value, and 1 for a
        largest value between 0.1 and 10.

    Raises:
        SettingsError: There is neither a shape nor an adjoint.
    """
    first = parts_of(y)[0]
    if not hasattr(physics, "A_adjoint"):
        if shape is None:
            raise SettingsError(
                f"{type(physics).__name__} has no adjoint to tell the image's shape by; give shape=(1, C, H, W) to a task, "
                "img_size=(C, H, W) to HybridDIP."
            )
        return Layout(tuple(shape), first.dtype.to_real()), [Units()] * len(first)
    adjoint = physics.A_adjoint(y)  # type: ignore[operator]
    layout = Layout(tuple(shape or adjoint.shape[1:]), adjoint.dtype.to_real() if real else adjoint.dtype)
    if not isinstance(physics, LinearPhysics):
        return layout, [Units()] * len(first)
    again = parts_of(physics.A(adjoint))
    return layout, [
        _units(image, [part[index] for part in parts_of(y)], [part[index] for part in again])
        for index, image in enumerate(adjoint)
    ]


def _units(adjoint: Tensor, y: list[Tensor], again: list[Tensor]) -> Units:
    """Units for the values of a A^T y, where a is the number that brings a A A^T y nearest to y."""
    along = sum(float((part.conj() * own).sum().real) for part, own in zip(again, y, strict=True))
    square = sum(float(part.abs().square().sum()) for part in again)
    largest = float(adjoint.abs().max()) * along / square if square > 0 else 0.0
    if not 0 < largest < math.inf or 0.1 <= largest <= 10:
        return Units()
    return Units(10.0 ** round(math.log10(largest)))
