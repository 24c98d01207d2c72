"""A learned network whose filters stay as they are, and whose channels are made stronger or weaker: what GainTuning fits.

Mohan et al., "Adaptive denoising via GainTuning" (NeurIPS 2021). All weights of a learned denoiser would follow the noise of
one image within some twenty steps. One factor for each channel is too little to do so, and enough to suit the image.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hybrid_dip.errors import SettingsError

_AXES: dict[type[nn.Module], int] = {nn.Conv2d: 0, nn.ConvTranspose2d: 1}
"""Layer -> the axis of its filters that counts what it gives."""


class Gains(nn.Module):
    """Filters times a factor for each channel that they give.

    Args:
        filters: The filters, which give the shape.
        axis: The axis of the channels that they give.
    """

    def __init__(self, filters: Tensor, axis: int):
        super().__init__()
        shape = [1] * filters.ndim
        shape[axis] = filters.shape[axis]
        self.gains = nn.Parameter(torch.ones(shape))

    def forward(self, filters: Tensor) -> Tensor:
        """Filters times gains, of the filters' shape."""
        return filters * self.gains


def with_gains(network: nn.Module) -> nn.Module:
    """Freeze a network, and give each convolution a gain for each channel, all 1.

    Args:
        network: It is changed in place.

    Returns:
        The same network. Only its gains require a gradient.

    Raises:
        SettingsError: It has no convolution.
    """
    network.requires_grad_(False)
    layers = [(layer, _AXES[type(layer)]) for layer in network.modules() if type(layer) in _AXES]
    if not layers:
        raise SettingsError(f"Gains are those of convolutions, and {type(network).__name__} has none.")
    for layer, axis in layers:
        parametrize.register_parametrization(layer, "weight", Gains(layer.get_parameter("weight"), axis))
    return network
