"""The hourglass with skip connections: the original's network for almost every task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.networks.blocks import (
    Activation,
    Downsampling,
    Upsampling,
    halving_convolution,
    per_scale,
)
from hybrid_dip.networks.blocks import activation as activation_layer
from hybrid_dip.networks.convolution import Padding, convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm
from hybrid_dip.networks.kernels.upsampling import doubling_layer
from hybrid_dip.networks.padded import Padded


class Scale(nn.Module):
    """One scale and everything below it: down, the next scale, up, and merge with the skip connection.

    Args:
        skip: This scale's input -> its skip features; None for no skip connection.
        down: This scale's input -> the map of half the size.
        up: The next scale's output -> a map of twice the size.
        merge: The concatenated features -> this scale's output.
    """

    def __init__(self, skip: nn.Module | None, down: nn.Module, up: nn.Module, merge: nn.Module):
        super().__init__()
        self.skip = skip
        self.down = down
        self.deeper: nn.Module = nn.Identity()
        self.up = up
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        """Return this scale's features, of x's height and width."""
        deep = self.up(self.deeper(self.down(x)))
        features = deep if self.skip is None else torch.cat([self.skip(x), deep], 1)
        merged: Tensor = self.merge(features)
        return merged


def skip(
    in_channels: int,
    out_channels: int = 3,
    *,
    down: Sequence[int] = (16, 32, 64, 128, 128),
    up: Sequence[int] | None = None,
    skip: Sequence[int] = (4, 4, 4, 4, 4),
    kernel_down: int | Sequence[int] = 3,
    kernel_up: int | Sequence[int] = 3,
    kernel_skip: int = 1,
    upsample: Upsampling | Sequence[Upsampling] = "nearest",
    downsample: Downsampling | Sequence[Downsampling] = "stride",
    padding: Padding = "zero",
    activation: Activation = "leaky_relu",
    sigmoid: bool = True,
    bias: bool = True,
    pointwise_up: bool = True,
) -> Padded:
    """The original's hourglass network (Ulyanov, Vedaldi & Lempitsky 2018, Figure 21), with the original's random draws.

    At each scale: a 1x1 skip branch; two convolutions down, the first halving the map; the next scale; upsampling; batch
    norm of the concatenation; a convolution and a 1x1 convolution. Every convolution is followed by batch norm and the
    activation; the output is a 1x1 convolution and a sigmoid. Batch norm stays in training mode: one image is a batch.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        down: Channels on the way down, for each scale.
        up: Channels on the way up; the same as ``down`` by default.
        skip: Channels of the skip branch for each scale, 0 for none.
        kernel_down: Odd side, one for all scales or one for each.
        kernel_up: Odd side, one for all scales or one for each.
        kernel_skip: Odd side.
        upsample: "nearest" or "bilinear", one for all scales or one for each.
        downsample: "stride", "avg", "max"; "lanczos2" or "lanczos3", a filter that is trained as in the original; or
            "fixed-lanczos2" or "fixed-lanczos3". One for all scales or one for each.
        padding: "zero" or "reflection".
        activation: "leaky_relu", "swish", "elu" or "none".
        sigmoid: End with a sigmoid.
        bias: Convolutions have a bias.
        pointwise_up: Have the 1x1 convolution on the way up.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.

    Raises:
        SettingsError: Options of different lengths, or an unknown choice.
    """
    scales = len(down)
    widths_down, widths_up = tuple(down), tuple(down if up is None else up)
    widths_skip = tuple(skip)
    if scales == 0 or not scales == len(widths_up) == len(widths_skip):
        raise SettingsError(
            f"The network needs as many values in 'down' as in 'up' and 'skip', got {scales}, {len(widths_up)} and "
            f"{len(widths_skip)}."
        )
    kernels_down: tuple[int, ...] = per_scale(kernel_down, scales, "kernel_down")
    kernels_up: tuple[int, ...] = per_scale(kernel_up, scales, "kernel_up")
    upsamples: tuple[str, ...] = per_scale(upsample, scales, "upsample")
    downsamples: tuple[str, ...] = per_scale(downsample, scales, "downsample")

    def stage(layers: list[nn.Module], channels: int) -> list[nn.Module]:
        return [*layers, BatchNorm(channels), activation_layer(activation)]

    built: list[Scale] = []
    channels = in_channels
    for i in range(scales):
        width, width_up = widths_down[i], widths_up[i]
        # Modules are made in the original's order, so that a seed gives the original's weights.
        branch = None
        if widths_skip[i]:
            layer = convolution(channels, widths_skip[i], kernel_skip, bias=bias, padding=padding)
            branch = nn.Sequential(*stage([layer], widths_skip[i]))
        first = halving_convolution(channels, width, kernels_down[i], how=downsamples[i], bias=bias, padding=padding)
        second = convolution(width, width, kernels_down[i], bias=bias, padding=padding)
        descent = nn.Sequential(*stage(first, width), *stage([second], width))
        deep = widths_up[i + 1] if i + 1 < scales else width
        merge: list[nn.Module] = [BatchNorm(widths_skip[i] + deep)]
        merge += stage([convolution(widths_skip[i] + deep, width_up, kernels_up[i], bias=bias, padding=padding)], width_up)
        if pointwise_up:
            merge += stage([convolution(width_up, width_up, 1, bias=bias, padding=padding)], width_up)
        scale = Scale(branch, descent, doubling_layer(upsamples[i]), nn.Sequential(*merge))
        if built:
            built[-1].deeper = scale
        built.append(scale)
        channels = width
    head: list[nn.Module] = [convolution(widths_up[0], out_channels, 1, bias=bias, padding=padding)]
    if sigmoid:
        head.append(nn.Sigmoid())
    smallest = 2
    if padding == "reflection":
        # A map is reflected by half a kernel, so it must be larger than that: find the least deepest map for which all are.
        for i in range(scales):
            doublings = scales - 1 - i
            on_input = max(kernels_down[i], kernels_up[i], kernel_skip if widths_skip[i] else 1) // 2
            smallest = max(smallest, on_input // 2 ** (doublings + 1) + 1, kernels_down[i] // 2 // 2**doublings + 1)
    return Padded(nn.Sequential(built[0], *head), multiple=2**scales, smallest=smallest)
