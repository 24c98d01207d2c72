"""The residual network without any change of resolution that the original compares for inpainting."""

from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.networks.blocks import Activation
from hybrid_dip.networks.blocks import activation as activation_layer
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm


class Residual(nn.Module):
    """Layers whose result is added to their input."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + layers(x)."""
        change: Tensor = self.layers(x)
        return x + change


def resnet(
    in_channels: int,
    out_channels: int = 3,
    *,
    blocks: int = 8,
    channels: int = 32,
    activation: Activation = "leaky_relu",
    sigmoid: bool = True,
) -> nn.Sequential:
    """A residual network (He et al. 2016) as the original builds it, with the original's random draws.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        blocks: Number of residual blocks.
        channels: Width.
        activation: "leaky_relu", "swish", "elu" or "none".
        sigmoid: End with a sigmoid.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.

    Raises:
        SettingsError: An unknown activation, or a negative number of blocks.
    """
    if blocks < 0:
        raise SettingsError(f"resnet needs a number of blocks of at least 0, got {blocks}.")
    layers: list[nn.Module] = [
        convolution(in_channels, channels, 3, padding="reflection"),
        activation_layer(activation),
    ]
    layers += [
        Residual(
            convolution(channels, channels, 3, bias=False),
            BatchNorm(channels),
            activation_layer(activation),
            convolution(channels, channels, 3, bias=False),
            BatchNorm(channels),
        )
        for _ in range(blocks)
    ]
    layers += [convolution(channels, channels, 3), BatchNorm(channels)]
    layers += [convolution(channels, out_channels, 3, padding="reflection"), *([nn.Sigmoid()] if sigmoid else [])]
    return nn.Sequential(*layers)
