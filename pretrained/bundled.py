"""The network of the denoiser that this project trained: a small U-Net without biases that is given the noise level.

It is a small DRUNet (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior"): residual blocks at three
scales, the noise level as one more channel, no biases, so that an image and a noise level twice as large give a result twice as
large. As in FFDNet (Zhang et al. 2018) the first scale is half the image's, which saves three quarters of the work.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLOURS = 3
WIDTHS = (48, 96, 96)
"""Channels at a half, a quarter and an eighth of the resolution."""
BLOCKS = 2
"""Residual blocks at each scale, on the way down and on the way up."""


class Block(nn.Module):
    """x + conv(relu(conv(x))).

    Args:
        width: Channels.
    """

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; the result has the shape of x."""
        result: Tensor = x + self.second(F.relu(self.first(x)))
        return result


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


class DenoisingNetwork(nn.Module):
    """Noisy colour image and noise level -> clean image.

    Args:
        widths: Channels at each scale, from a half of the resolution down.
        blocks: Residual blocks at each scale, on the way down and on the way up.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, blocks: int = BLOCKS):
        super().__init__()
        self.multiple = 2 ** len(widths)
        pairs = list(pairwise(widths))
        self.first = nn.Conv2d(4 * (COLOURS + 1), widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.smaller = nn.ModuleList(nn.Conv2d(wide, deep, 2, stride=2, bias=False) for wide, deep in pairs)
        self.deepest = _blocks(widths[-1], blocks)
        self.larger = nn.ModuleList(nn.ConvTranspose2d(deep, wide, 2, stride=2, bias=False) for wide, deep in pairs)
        self.up = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 4 * COLOURS, 3, padding=1, bias=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (N, 3, H, W), H and W multiples of :attr:`multiple`.
            sigma: Noise level at each pixel, in the units of x, (N, 1, H, W).

        Returns:
            The clean image, of the shape of x.
        """
        deep = self.first(F.pixel_unshuffle(torch.cat([x, sigma], 1), 2))
        skipped = []
        for blocks, smaller in zip(self.down, self.smaller, strict=True):
            skipped.append(blocks(deep))
            deep = smaller(skipped[-1])
        deep = self.deepest(deep)
        for blocks, larger, skip in zip(reversed(self.up), reversed(self.larger), reversed(skipped), strict=True):
            deep = blocks(larger(deep) + skip)
        # The network's output is the noise.
        return x - F.pixel_shuffle(self.last(deep), 2)
