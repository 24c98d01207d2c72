"""The U-Net that the original uses for inpainting large holes."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.networks.convolution import Padding, convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm
from hybrid_dip.networks.kernels.upsampling import doubling_layer
from hybrid_dip.networks.padded import Padded

_NORMS: dict[str, Callable[[int], nn.Module]] = {"instance": nn.InstanceNorm2d, "batch": BatchNorm}


def _level(in_channels: int, out_channels: int, norm: str | None, bias: bool, padding: str) -> nn.Sequential:
    """Two (convolution, norm, ReLU), the second from ``out_channels`` to itself."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(convolution(channels, out_channels, 3, bias=bias, padding=padding))
        if norm is not None:
            layers.append(_NORMS[norm](out_channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Rise(nn.Module):
    """Double a map, concatenate the skip connection, and two convolutions without a norm.

    Args:
        in_channels: Channels of the map that comes from below.
        out_channels: Channels of the skip connection and of the result.
        upsample: "deconv", "nearest" or "bilinear".
        bias: Convolutions have a bias.
        padding: "zero" or "reflection".
    """

    def __init__(self, in_channels: int, out_channels: int, upsample: str, bias: bool, padding: str):
        super().__init__()
        self.up: nn.Module
        if upsample == "deconv":
            self.up = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        else:
            layer = convolution(in_channels, out_channels, 3, bias=bias, padding=padding)
            self.up = nn.Sequential(doubling_layer(upsample), layer)
        self.merge = _level(2 * out_channels, out_channels, None, bias, padding)

    def forward(self, deep: Tensor, side: Tensor) -> Tensor:
        """Return the merged map, of the size of ``side``."""
        merged: Tensor = self.merge(torch.cat([self.up(deep), side], 1))
        return merged


class UNet(nn.Module):
    """See :func:`unet`.

    Args:
        start: z -> the first map.
        downs: For each level on the way down: the halved map -> the next one.
        rises: For each level on the way up, the deepest first.
        final: The last map -> the image.
        concat_input: Concatenate the pooled input to each map on the way down.
    """

    def __init__(
        self, start: nn.Module, downs: Sequence[nn.Module], rises: Sequence[Rise], final: nn.Module, concat_input: bool
    ):
        super().__init__()
        self.concat_input = concat_input
        self.start = start
        self.downs, self.rises = nn.ModuleList(downs), nn.ModuleList(rises)
        self.final = final

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, out_channels, H, W) for sizes that divide by 2 to the number of levels."""
        pooled = z
        maps = [self._with_input(self.start(z), pooled)]
        for down in self.downs:
            pooled = F.avg_pool2d(pooled, 2)
            maps.append(self._with_input(down(F.max_pool2d(maps[-1], 2)), pooled))
        deep = maps.pop()
        for rise in self.rises:
            deep = rise(deep, maps.pop())
        image: Tensor = self.final(deep)
        return image

    def _with_input(self, features: Tensor, pooled: Tensor) -> Tensor:
        return torch.cat([features, pooled], 1) if self.concat_input else features


def unet(
    in_channels: int,
    out_channels: int = 3,
    *,
    feature_scale: int = 4,
    more_layers: int = 0,
    concat_input: bool = False,
    upsample: Literal["deconv", "nearest", "bilinear"] = "deconv",
    padding: Padding = "zero",
    norm: Literal["instance", "batch"] = "instance",
    sigmoid: bool = True,
    bias: bool = True,
) -> Padded:
    """A U-Net (Ronneberger et al. 2015) as the original builds it, with the original's random draws.

    Widths (64, 128, 256, 512, 1024) / feature_scale; a level is two (convolution, norm, ReLU); down by max pooling; up by a
    4x4 transposed convolution, concatenation with the skip, and two (convolution, ReLU) without a norm.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        feature_scale: Divisor of the widths.
        more_layers: Extra levels at the last width.
        concat_input: Concatenate the pooled input at each level on the way down.
        upsample: "deconv", or doubling by "nearest" or "bilinear" and a 3x3 convolution.
        padding: "zero" or "reflection".
        norm: "instance" (without weights) or "batch".
        sigmoid: End with a sigmoid.
        bias: Convolutions have a bias.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.

    Raises:
        SettingsError: An unknown choice, or widths that leave no room for the input.
    """
    if norm not in _NORMS:
        raise SettingsError(f"Unknown norm '{norm}': {nearest(norm, list(_NORMS))}.")
    if feature_scale < 1 or more_layers < 0 or (concat_input and 64 // feature_scale <= in_channels):
        raise SettingsError(
            f"unet needs feature_scale >= 1, more_layers >= 0, and with concat_input fewer input channels than "
            f"64 / feature_scale; got {feature_scale}, {more_layers} and {in_channels} channels."
        )
    widths = [width // feature_scale for width in (64, 128, 256, 512, 1024)]
    widths += [widths[-1]] * more_layers
    given = in_channels if concat_input else 0  # with concat_input the pooled input makes up part of each width
    # Modules are made in the original's order, so that a seed gives the original's weights: the extra levels on the way up come
    # before the usual ones.
    start = _level(in_channels, widths[0] - given, norm, bias, padding)
    downs = [_level(above, width - given, norm, bias, padding) for above, width in pairwise(widths)]
    extra = [Rise(widths[-1], widths[-1], upsample, bias, padding) for _ in range(more_layers)]
    usual = [Rise(widths[i + 1], widths[i], upsample, bias, padding) for i in (3, 2, 1, 0)]
    head: list[nn.Module] = [convolution(widths[0], out_channels, 1, bias=bias, padding=padding)]
    final = nn.Sequential(*head, nn.Sigmoid()) if sigmoid else nn.Sequential(*head)
    network = UNet(start, downs, [*reversed(extra), *usual], final, concat_input)
    return Padded(network, multiple=2 ** (4 + more_layers), smallest=2)
