"""The convolution of all networks here: torch's own, or a faster way to the same numbers."""

import itertools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.networks.kernels import reflection, winograd

Padding = Literal["zero", "reflection"]
_PADDINGS: dict[str, Literal["zeros", "reflect"]] = {"zero": "zeros", "reflection": "reflect"}


class Convolution(nn.Conv2d):
    """torch's convolution in the way that is fastest for its input; the same numbers up to rounding.

    Attributes:
        idle_bias: The bias is not added, see :func:`drop_idle_biases`.
    """

    idle_bias = False

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, H / stride, W / stride)."""
        bias = None if self.idle_bias else self.bias
        reflect = self.padding_mode == "reflect"
        if self.stride == (1, 1) and winograd.pays(x, self.weight):
            return winograd.convolve(x, self.weight, bias, reflect=reflect)
        if self.kernel_size == (1, 1) and self.stride == (1, 1) and x.device.type == "cpu":
            return self._mix(x, bias)
        weight = self.weight
        if missing := _missing_channels(x):
            x, weight = (F.pad(one, (0, 0, 0, 0, 0, missing)) for one in (x, weight))
        if reflect and reflection.pays(x):
            return F.conv2d(reflection.pad(x, self.kernel_size[0] // 2), weight, bias, self.stride)
        output: Tensor = self._conv_forward(x, weight, bias)
        return output

    def _mix(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """A 1x1 convolution as what it is, a product of matrices."""
        weight = self.weight.flatten(1).expand(x.shape[0], -1, -1)
        pixels = x.flatten(2)
        mixed = weight @ pixels if bias is None else torch.baddbmm(bias[:, None], weight, pixels)
        return mixed.view(x.shape[0], -1, *x.shape[2:])


def _missing_channels(x: Tensor) -> int:
    """Channels of zeros to add to a wide map in half precision on a GPU, where tensor cores take channels by eights.

    Without them cuDNN makes a larger copy of the map for each output and each gradient.
    """
    return -x.shape[1] % 8 if x.device.type == "cuda" and x.dtype == torch.bfloat16 and x.shape[1] > 8 else 0


def drop_idle_biases(network: nn.Module) -> nn.Module:
    """Leave out the biases that a batch norm subtracts again with the mean: no output depends on them.

    On a GPU each addition, and each sum of a gradient that is zero, takes a pass through memory. The biases are set to zero, so
    that the network's state means the same where they are added.

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
        bias: Whether it has a bias.
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
