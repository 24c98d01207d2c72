"""Any image size for networks that halve and double their maps."""

import torch
from torch import Tensor, nn


def _reflected_indices(size: int, padded: int, device: torch.device) -> Tensor:
    """Indices that extend an axis to ``padded`` entries by reflecting it as often as needed; the original is in the middle."""
    position = torch.arange(padded, device=device) - (padded - size) // 2
    period = max(1, 2 * (size - 1))
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded)


class Padded(nn.Module):
    """Runs a network on a reflected extension of its input and crops the output.

    Sizes that fit are not extended, so they keep the inner network's numbers.

    Args:
        network: Maps (N, C, H, W) to (N, C', H, W) for H and W that are multiples of ``multiple``.
        multiple: Number that both sides must divide by.
        smallest: Least number of multiples on each side.
    """

    def __init__(self, network: nn.Module, multiple: int, smallest: int = 2):
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.smallest = smallest

    def padded_size(self, size: int) -> int:
        """The side that the inner network sees for an image side of ``size``."""
        return max(self.smallest, -(-size // self.multiple)) * self.multiple

    def forward(self, z: Tensor) -> Tensor:
        """Return the network's output, of z's height and width."""
        height, width = z.shape[-2:]
        tall, wide = self.padded_size(height), self.padded_size(width)
        if (tall, wide) == (height, width):
            result: Tensor = self.network(z)
            return result
        if tall != height:
            z = z.index_select(-2, _reflected_indices(height, tall, z.device))
        if wide != width:
            z = z.index_select(-1, _reflected_indices(width, wide, z.device))
        top, left = (tall - height) // 2, (wide - width) // 2
        output: Tensor = self.network(z)
        return output[..., top : top + height, left : left + width]
