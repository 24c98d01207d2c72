"""The multi-scale generator of Texture Networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.networks.blocks import Upsampling
from hybrid_dip.networks.convolution import Padding, convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm
from hybrid_dip.networks.kernels.upsampling import doubling_layer
from hybrid_dip.networks.padded import Padded

RATIOS = (32, 16, 8, 4, 2, 1)


def _branch(in_channels: int, out_channels: int, padding: str) -> nn.Sequential:
    """Three (convolution, batch norm, activation) with kernels 3, 3, 1."""
    layers: list[nn.Module] = []
    for kernel in (3, 3, 1):
        layers += [
            convolution(in_channels, out_channels, kernel, padding=padding),
            BatchNorm(out_channels),
            nn.LeakyReLU(0.2),
        ]
        in_channels = out_channels
    return nn.Sequential(*layers)


class Merge(nn.Module):
    """Joins the coarse features so far with one finer branch: batch norm on both sides, concatenation, a branch.

    Args:
        coarse: Channels that come from below.
        fine: Channels of the finer branch.
        padding: "zero" or "reflection".
    """

    def __init__(self, coarse: int, fine: int, padding: str):
        super().__init__()
        self.norm_fine = BatchNorm(fine)
        self.norm_coarse = BatchNorm(coarse)
        self.branch = _branch(coarse + fine, coarse + fine, padding)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the joined features."""
        joined: Tensor = self.branch(torch.cat([self.norm_coarse(coarse), self.norm_fine(fine)], 1))
        return joined


class Texture(nn.Module):
    """See :func:`texture`."""

    def __init__(self, in_channels: int, out_channels: int, channels: int, upsample: str, padding: str, sigmoid: bool):
        super().__init__()
        self.branches = nn.ModuleList()
        self.merges = nn.ModuleList()
        for i in range(len(RATIOS)):
            self.branches.append(_branch(in_channels, channels, padding))
            if i:
                self.merges.append(Merge(channels * i, channels, padding))
        self.upsample = doubling_layer(upsample)
        self.head = convolution(channels * len(RATIOS), out_channels, 1, padding=padding)
        self.sigmoid = sigmoid

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, out_channels, H, W) for sizes that divide by 32."""
        features = self.branches[0](F.avg_pool2d(z, RATIOS[0]))
        for ratio, branch, merge in zip(RATIOS[1:], self.branches[1:], self.merges, strict=True):
            features = merge(self.upsample(features), branch(F.avg_pool2d(z, ratio)))
        image: Tensor = self.head(features)
        return torch.sigmoid(image) if self.sigmoid else image


def texture(
    in_channels: int,
    out_channels: int = 3,
    *,
    channels: int = 8,
    upsample: Upsampling = "nearest",
    padding: Padding = "zero",
    sigmoid: bool = True,
) -> Padded:
    """The generator of Texture Networks (Ulyanov et al. 2016): the input pooled by 32, 16, ..., 1, merged coarse to fine.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        channels: Channels of each scale's branch; merging adds up those of all scales.
        upsample: "nearest" or "bilinear".
        padding: "zero" or "reflection".
        sigmoid: End with a sigmoid.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.

    Raises:
        SettingsError: An unknown choice.
    """
    return Padded(Texture(in_channels, out_channels, channels, upsample, padding, sigmoid), RATIOS[0], smallest=2)
