"""The network of DIP-SURE's runs, an hourglass after that of Self2Self."""

import itertools

import torch
from torch import Tensor, nn

from hybrid_dip.networks.blocks import Activation
from hybrid_dip.networks.blocks import activation as activation_layer
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm
from hybrid_dip.networks.kernels.upsampling import doubling_layer
from hybrid_dip.networks.padded import Padded

SCALES = 5


def _stages(widths: list[int], activation: str, stride: int = 1) -> list[nn.Module]:
    """Convolutions of 3, reflected at the border, each followed by batch norm and the activation; the first has the stride."""
    layers: list[nn.Module] = []
    for in_channels, width in itertools.pairwise(widths):
        layers += [
            convolution(in_channels, width, 3, stride, padding="reflection"),
            BatchNorm(width),
            activation_layer(activation),
        ]
        stride = 1
    return layers


class S2S(nn.Module):
    """See :func:`s2s`."""

    def __init__(self, in_channels: int, out_channels: int, down: int, up: int, activation: str, sigmoid: bool):
        super().__init__()
        # Modules are made in the authors' order, so that a seed gives their weights.
        widths = [in_channels, *(down,) * SCALES]
        self.down = nn.ModuleList(nn.Sequential(*_stages([widths[i], down, down], activation, stride=2)) for i in range(SCALES))
        self.deepest = nn.Sequential(*_stages([down, up], activation))
        self.up = nn.ModuleList(
            nn.Sequential(BatchNorm(up + down), *_stages([up + down, up, up], activation)) for _ in range(SCALES - 1)
        )
        head = _stages([up + in_channels, 64, 32], activation)
        last = [nn.Sigmoid()] if sigmoid else []
        self.head = nn.Sequential(*head, convolution(32, out_channels, 3, padding="reflection"), *last)
        self.larger = doubling_layer("nearest")

    def forward(self, z: Tensor) -> Tensor:
        """Return (N, out_channels, H, W), for sizes that divide by 32."""
        maps = [z]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = self.deepest(maps.pop())
        for up in self.up:
            x = up(torch.cat([self.larger(x), maps.pop()], 1))
        image: Tensor = self.head(torch.cat([self.larger(x), maps.pop()], 1))
        return image


def s2s(
    in_channels: int,
    out_channels: int = 3,
    *,
    down: int = 48,
    up: int = 96,
    activation: Activation = "softplus",
    sigmoid: bool = True,
) -> Padded:
    """The network of DIP-SURE (Jo, Chun & Choi 2021), after Self2Self's (Quan et al. 2020), with the authors' random draws.

    Five times two convolutions, the first halving the map; then upwards, at each scale joined with the map from the way down,
    at last with the input itself. All convolutions have kernels of 3, batch norm and the activation; the output is a
    sigmoid.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        down: Channels on the way down.
        up: Channels on the way up.
        activation: "softplus" as in the authors' runs, or another one of ``skip``.
        sigmoid: End with a sigmoid.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.
    """
    return Padded(S2S(in_channels, out_channels, down, up, activation, sigmoid), 2**SCALES)
