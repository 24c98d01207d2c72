"""The deep decoder: an image prior with fewer parameters than pixels."""

from collections.abc import Sequence

from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.networks.blocks import Upsampling
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.networks.kernels.normalisation import BatchNorm
from hybrid_dip.networks.kernels.upsampling import doubling_layer
from hybrid_dip.networks.padded import Padded


class Decoder(nn.Module):
    """See :func:`decoder`."""

    def __init__(self, in_channels: int, out_channels: int, channels: Sequence[int], upsample: str, sigmoid: bool):
        super().__init__()
        self.stride = 2 ** len(channels)
        layers: list[nn.Module] = []
        # The last layer does not double the map, as in the authors' decodernw: with five doublings there are six layers.
        for width, doubles in [*((width, True) for width in channels), (channels[-1], False)]:
            layers.append(convolution(in_channels, width, 1, bias=False))
            if doubles:
                layers.append(doubling_layer(upsample))
            layers += [nn.ReLU(), BatchNorm(width)]  # in this order, as in the paper's B_(i+1) = cn(relu(U_i B_i C_i))
            in_channels = width
        layers.append(convolution(in_channels, out_channels, 1, bias=False))
        if sigmoid:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, out_channels, H, W) for sizes that divide by 2 to the number of layers."""
        image: Tensor = self.layers(z[..., :: self.stride, :: self.stride])
        return image


def decoder(
    in_channels: int,
    out_channels: int = 3,
    *,
    channels: Sequence[int] = (128, 128, 128, 128, 128),
    upsample: Upsampling = "bilinear",
    sigmoid: bool = True,
) -> Padded:
    """The deep decoder (Heckel & Hand 2019): 1x1 convolutions, upsampling, ReLU and channel normalisation; no 3x3 anywhere.

    Its input is a small tensor. So that all networks are called alike, it takes z at full size and reads every
    2^len(channels)-th pixel of it.

    Args:
        in_channels: Channels of z.
        out_channels: Channels of the image.
        channels: Width of each layer that doubles the map; one more layer of the last width follows. With (64,) * 5 and 64
            channels of z it has the paper's 25536 parameters, with 128 its 100224.
        upsample: "bilinear" as in the paper, or "nearest".
        sigmoid: End with a sigmoid.

    Returns:
        A module (1, in_channels, H, W) -> (1, out_channels, H, W), for any H and W.

    Raises:
        SettingsError: No layers, or an unknown upsampling.
    """
    if not channels:
        raise SettingsError("The deep decoder needs at least one layer, got none.")
    return Padded(Decoder(in_channels, out_channels, channels, upsample, sigmoid), 2 ** len(channels), smallest=2)
