"""The few layers that all networks here are made of, by name."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.problem import resampling

Activation = Literal["leaky_relu", "swish", "elu", "softplus", "none"]
Upsampling = Literal["nearest", "bilinear"]
Downsampling = Literal["stride", "avg", "max", "lanczos2", "lanczos3", "fixed-lanczos2", "fixed-lanczos3"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),  # the batch norm before it does not need its output
    "swish": nn.SiLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "none": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A non-linearity by name.

    Args:
        name: "leaky_relu" (slope 0.2), "swish", "elu", "softplus" or "none".

    Returns:
        A module without parameters.

    Raises:
        SettingsError: Unknown name.
    """
    if name not in _ACTIVATIONS:
        raise SettingsError(f"Unknown activation '{name}': {nearest(name, list(_ACTIVATIONS))}.")
    return _ACTIVATIONS[name]()


def low_pass(channels: int, kernel: str) -> nn.Conv2d:
    """The original's Lanczos downsampler in a network: a dense convolution, trained, which begins as a filter of each channel.

    Args:
        channels: C.
        kernel: "lanczos2" or "lanczos3".

    Returns:
        A layer (N, C, H, W) -> (N, C, H / 2, W / 2) with C^2 k^2 + C parameters, k 8 or 12; borders are replicated.
    """
    taps, offset = resampling.taps(2, kernel, 0.5)
    layer = nn.Conv2d(channels, channels, len(taps), stride=2, padding=-offset, padding_mode="replicate")
    with torch.no_grad():
        layer.bias.zero_()  # type: ignore[union-attr]
        layer.weight.zero_()
        layer.weight.diagonal().copy_(torch.outer(taps, taps)[..., None].expand(-1, -1, channels))
    return layer


class FixedLowPass(nn.Module):
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


_REDUCERS: dict[str, Callable[[int], nn.Module]] = {
    "avg": lambda channels: nn.AvgPool2d(2),
    "max": lambda channels: nn.MaxPool2d(2),
    "lanczos2": lambda channels: low_pass(channels, "lanczos2"),
    "lanczos3": lambda channels: low_pass(channels, "lanczos3"),
    "fixed-lanczos2": lambda channels: FixedLowPass("lanczos2"),
    "fixed-lanczos3": lambda channels: FixedLowPass("lanczos3"),
}


def halving_convolution(
    in_channels: int, out_channels: int, kernel: int, *, how: str, bias: bool, padding: str
) -> list[nn.Module]:
    """A convolution that halves the map: strided, or at full resolution followed by pooling or a low-pass filter.

    The filter is made first, as in the original, so that a seed gives its weights.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel: Odd side.
        how: One of :data:`Downsampling`.
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
    reducer = _REDUCERS[how](out_channels)
    return [convolution(in_channels, out_channels, kernel, bias=bias, padding=padding), reducer]


T = TypeVar("T")


def per_scale(value: T | Sequence[T], scales: int, name: str) -> tuple[T, ...]:
    """One value for each scale, from one for all or one for each."""
    values = tuple(value) if isinstance(value, tuple | list) else (cast(T, value),) * scales
    if len(values) != scales:
        raise SettingsError(f"The network has {scales} scales, but '{name}' has {len(values)} values.")
    return values
