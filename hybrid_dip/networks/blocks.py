"""The few layers that all networks here are made of, by name."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.problem import resampling

Activation = Literal["leaky_relu", "swish", "elu", "none"]
Upsampling = Literal["nearest", "bilinear"]
Downsampling = Literal["stride", "avg", "max", "lanczos2", "lanczos3"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),  # the batch norm before it does not need its output
    "swish": nn.SiLU,
    "elu": nn.ELU,
    "none": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A non-linearity by name.

    Args:
        name: "leaky_relu" (slope 0.2), "swish", "elu" or "none".

    Returns:
        A module without parameters.

    Raises:
        SettingsError: Unknown name.
    """
    if name not in _ACTIVATIONS:
        raise SettingsError(f"Unknown activation '{name}': {nearest(name, list(_ACTIVATIONS))}.")
    return _ACTIVATIONS[name]()


class LowPass(nn.Module):
    """Halves a map by a fixed Lanczos filter on each channel, borders replicated.

    Args:
        kernel: "lanczos2" or "lanczos3".
    """

    taps: Tensor

    def __init__(self, kernel: str):
        super().__init__()
        weights, self.offset = resampling.taps(2, kernel, 0.5)
        self.register_buffer("taps", weights.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H / 2, W / 2)."""
        return resampling.filter_and_stride(x, self.taps, self.offset, 2)


_REDUCERS: dict[str, Callable[[], nn.Module]] = {
    "avg": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
    "lanczos2": lambda: LowPass("lanczos2"),
    "lanczos3": lambda: LowPass("lanczos3"),
}


def halving_convolution(
    in_channels: int, out_channels: int, kernel: int, *, how: str, bias: bool, padding: str
) -> list[nn.Module]:
    """A convolution that halves the map: strided, or at full resolution followed by pooling or a low-pass filter.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel: Odd side.
        how: "stride", "avg", "max", "lanczos2" or "lanczos3".
        bias: Whether it has a bias.
        padding: "zero" or "reflection".

    Returns:
        The layers.

    Raises:
        SettingsError: Unknown way.
    """
    if how == "stride":
        return [convolution(in_channels, out_channels, kernel, 2, bias=bias, padding=padding)]
    if how not in _REDUCERS:
        raise SettingsError(f"Unknown downsampling '{how}': {nearest(how, ['stride', *_REDUCERS])}.")
    return [convolution(in_channels, out_channels, kernel, bias=bias, padding=padding), _REDUCERS[how]()]


T = TypeVar("T")


def per_scale(value: T | Sequence[T], scales: int, name: str) -> tuple[T, ...]:
    """One value for each scale, from one for all or one for each."""
    values = tuple(value) if isinstance(value, tuple | list) else (cast(T, value),) * scales
    if len(values) != scales:
        raise SettingsError(f"The network has {scales} scales, but '{name}' has {len(values)} values.")
    return values
