"""The few layers that all networks here are made of, in the original's order of random draws."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.networks.kernels import reflection, winograd
from hybrid_dip.problem import resampling

Activation = Literal["leaky_relu", "swish", "elu", "none"]
Padding = Literal["zero", "reflection"]
Upsample = Literal["nearest", "bilinear"]
Downsample = Literal["stride", "avg", "max", "lanczos2", "lanczos3"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),  # batch norm before it does not need its own output
    "swish": nn.SiLU,
    "elu": nn.ELU,
    "none": nn.Identity,
}
_PADDINGS: dict[str, Literal["zeros", "reflect"]] = {"zero": "zeros", "reflection": "reflect"}


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


class Convolution(nn.Conv2d):
    """torch's convolution, done in the way that is fastest for its input; the same numbers up to rounding.

    Attributes:
        idle_bias: The bias is not added, see :func:`idle_biases`.
    """

    idle_bias = False

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, H / stride, W / stride)."""
        bias = None if self.idle_bias else self.bias
        reflect = self.padding_mode == "reflect"
        if self.stride == (1, 1) and winograd.pays(x, self.weight):
            return winograd.convolve(x, self.weight, bias, reflect=reflect)
        if self.kernel_size == (1, 1) and self.stride == (1, 1) and x.device.type == "cpu":
            return self._mixed(x, bias)
        weight = self.weight
        if lacking := _lacking(x):
            x, weight = (F.pad(one, (0, 0, 0, 0, 0, lacking)) for one in (x, weight))
        if reflect and reflection.pays(x):
            return F.conv2d(reflection.pad(x, self.kernel_size[0] // 2), weight, bias, self.stride)
        output: Tensor = self._conv_forward(x, weight, bias)
        return output

    def _mixed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """A 1x1 convolution as what it is, a product of matrices."""
        weight = self.weight.flatten(1).expand(x.shape[0], -1, -1)
        pixels = x.flatten(2)
        mixed = weight @ pixels if bias is None else torch.baddbmm(bias[:, None], weight, pixels)
        return mixed.view(x.shape[0], -1, *x.shape[2:])


def _lacking(x: Tensor) -> int:
    """Channels of zeros that let a wide map be convolved in half precision on a GPU as it is.

    Tensor cores take channels by eights. Of a map that has others cuDNN makes a larger copy, each time that it is asked for the
    output, or for a gradient.
    """
    return -x.shape[1] % 8 if x.device.type == "cuda" and x.dtype == torch.bfloat16 and x.shape[1] > 8 else 0


def idle_biases(network: nn.Module) -> nn.Module:
    """Leave out the biases that a batch norm takes away again with the mean: no output depends on them.

    On a GPU to add one, and to sum its gradient, which is zero, is a way through memory each. They are set to zero, so that the
    network's state means the same to whoever adds them.

    Args:
        network: Changed in place.

    Returns:
        The network.
    """
    for sequence in network.modules():
        if isinstance(sequence, nn.Sequential):
            for layer, following in itertools.pairwise(sequence):
                if isinstance(layer, Convolution) and layer.bias is not None and isinstance(following, nn.BatchNorm2d):
                    layer.idle_bias = True
                    nn.init.zeros_(layer.bias)
    return network


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, bias: bool = True, padding: str = "zero"
) -> Convolution:
    """A convolution that keeps the size (divided by its stride): it pads (kernel - 1) / 2.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel: Odd side.
        stride: 1 or 2.
        bias: With a bias.
        padding: "zero" or "reflection".

    Returns:
        The layer, with torch's default initialisation.

    Raises:
        SettingsError: Unknown padding, an even kernel, or no channels.
    """
    if padding not in _PADDINGS:
        raise SettingsError(f"Unknown padding '{padding}': {nearest(padding, list(_PADDINGS))}.")
    if kernel < 1 or kernel % 2 == 0:
        raise SettingsError(f"A kernel size must be odd, got {kernel}.")
    if min(in_channels, out_channels) < 1:
        raise SettingsError(f"A convolution needs at least one channel on each side, got {in_channels}, {out_channels}.")
    mode = _PADDINGS[padding] if kernel > 1 else "zeros"  # to reflect nothing would be a copy
    return Convolution(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, bias=bias, padding_mode=mode)


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
        bias: With a bias.
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
    """One value a scale, from one value or one value a scale."""
    values = tuple(value) if isinstance(value, tuple | list) else (cast(T, value),) * scales
    if len(values) != scales:
        raise SettingsError(f"The network has {scales} scales, but '{name}' has {len(values)} values.")
    return values
