"""A regulariser, a denoiser and a metric."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.regularisers.terms import Weighable


@dataclass(frozen=True)
class Checkerboard(Weighable):
    """Energy of the pattern that transposed convolutions leave (Odena, Dumoulin & Olah 2016).

        R(x) = mean_p (x(p) - x(p + right) - x(p + down) + x(p + right + down))^2 / 4

    Attributes:
        scale: Multiplies the energy, at least 0.
    """

    scale: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        return self.scale * x.diff(dim=-1).diff(dim=-2).square().mean() / 4


def box(x: Tensor, sigma: float) -> Tensor:
    """The mean of 3x3 pixels, at any noise level."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def worst(x: Tensor, reference: Tensor) -> float:
    """The largest error of any pixel."""
    return float((x - reference).abs().max())
