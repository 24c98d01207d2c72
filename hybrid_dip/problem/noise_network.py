"""The small network that reads the level of noise off one image, and its input and output.

It sees the energies of the cosine transform of blocks of 8x8 pixels. Where a block is smooth, what is left of it is noise;
where it is not, only other blocks can tell. So features of the blocks are pooled over the image, with weights that the network
itself gives to blocks it can read, and each block's level follows from its own features and the pooled ones. It was trained on
photographs with noise of many kinds (:mod:`pretrained.train_noise`), by the likelihood of the squared error. (CBDNet, Guo et
al. 2019, has a network for the level of a camera's noise as well.)
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.problem.camera import LUMA_CHROMA

BLOCK = 8
"""Side of a block in pixels."""
LAGS = 3
"""How far apart, in pixels, neighbours are looked at."""
LEAST = 0.25 / 255
"""No level is below this: a quarter of a grey level is what rounding to 8 bit leaves."""
WIDTH = 64
WEIGHTS = Path(__file__).with_name("noise_network.safetensors")


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says of images.

    Attributes:
        variance: Of the noise in each block and channel, (N, 3, H / 8, W / 8).
        correlation: Between the noise of neighbours 1, 2 and 3 pixels apart, (N, 3).
        error: How far the level is off, as the network expects: mean |log of the ratio to the true one|, (N,).
    """

    variance: Tensor
    correlation: Tensor
    error: Tensor


def cosines(side: int = BLOCK) -> Tensor:
    """The orthonormal cosine transform of a square block, one filter for each frequency: (side * side, 1, side, side)."""
    place = torch.arange(side, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * place[None] + 1) * place[:, None] / (2 * side)) * math.sqrt(2 / side)
    rows[0] /= math.sqrt(2)
    return torch.einsum("ij,kl->ikjl", rows, rows).reshape(side**2, 1, side, side).float()


class NoiseNetwork(nn.Module):
    """Images -> variance of the noise in each block, its correlation, and how sure that is."""

    cosines: Tensor
    colours: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cosines", cosines(), persistent=False)
        self.register_buffer("colours", torch.cat([torch.eye(3), LUMA_CHROMA])[..., None, None], persistent=False)
        self.block = nn.Sequential(nn.Conv2d(6 * BLOCK**2, 2 * WIDTH, 1), nn.ReLU(), nn.Conv2d(2 * WIDTH, WIDTH, 1), nn.ReLU())
        self.around = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, padding_mode="replicate"), nn.ReLU())
        self.readable = nn.Conv2d(WIDTH, WIDTH, 1)
        self.whole = nn.Sequential(nn.Linear(2 * WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH), nn.ReLU())
        self.level = nn.Sequential(nn.Conv2d(2 * WIDTH + 3, WIDTH, 1), nn.ReLU(), nn.Conv2d(WIDTH, 3, 1))
        self.of_all = nn.Linear(WIDTH, LAGS + 1)

    def forward(self, images: Tensor) -> Reading:
        """Read.

        Args:
            images: (N, 3, H, W), H and W multiples of 8.

        Returns:
            The reading.
        """
        count, _, height, width = images.shape
        planes = F.conv2d(images, self.colours).reshape(-1, 1, height, width)
        energy = F.conv2d(planes, self.cosines, stride=BLOCK).square()
        # On a logarithmic scale a level of 1 is as far from one of 2 as 30 is from 60.
        logarithms = ((energy + LEAST**2).log() + 6) / 3
        features = self.block(logarithms.reshape(count, -1, height // BLOCK, width // BLOCK))
        features = features + self.around(features)
        weights = self.readable(features).flatten(2).softmax(2)
        flat = features.flatten(2)
        mean = (weights * flat).sum(2)
        spread = ((weights * flat.square()).sum(2) - mean.square()).clamp(min=1e-8).sqrt()
        whole = self.whole(torch.cat([mean, spread], 1))
        bright = F.avg_pool2d(images, BLOCK)
        level = self.level(torch.cat([features, whole[..., None, None].expand_as(features), bright], 1))
        of_all = self.of_all(whole)
        # exp(8) is the ratio of the greatest variance, at a deviation of 0.5, to that of 2 of 255.
        variance = LEAST**2 + (level.clamp(-8, 8) - 6).exp()
        return Reading(variance, of_all[:, :LAGS].tanh(), of_all[:, LAGS].clamp(-6, 2).exp())


@cache
def noise_network() -> NoiseNetwork:
    """The network that comes with this package, frozen, on the CPU."""
    from safetensors.torch import load_file

    network = NoiseNetwork()
    network.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)
