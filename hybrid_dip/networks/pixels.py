"""x = theta: no network, and so no prior in the architecture."""

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """See :func:`pixels`."""

    def __init__(self, start: Tensor):
        super().__init__()
        self.image = nn.Parameter(start.clone())

    def forward(self, z: Tensor) -> Tensor:
        """Return a copy of the image, which the optimiser does not change later; z is not used."""
        return self.image.clone()


def pixels(in_channels: int, out_channels: int = 3, *, size: tuple[int, int], level: float = 0.5) -> Pixels:
    """The image itself as parameters, the baseline without an architecture's prior.

    Args:
        in_channels: Not used; all networks are called alike.
        out_channels: Channels of the image.
        size: (H, W).
        level: Value of all pixels at the start.

    Returns:
        A module that ignores its input and returns (1, out_channels, H, W).
    """
    return Pixels(torch.full((1, out_channels, *size), level))
