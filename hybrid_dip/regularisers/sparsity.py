"""Sparsity: small for images that few large coefficients describe, of a transform or of the gradient."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.terms import Weighable
from hybrid_dip.regularisers.transforms import dct_matrix
from hybrid_dip.regularisers.variation import differences, smooth_root


@dataclass(frozen=True)
class Wavelet(Weighable):
    """l1 norm of the wavelet details, a mean per pixel and channel (Donoho & Johnstone 1994, as a prior Figueiredo 2003).

        R(x) = sum over levels l and the three directions of 4^-l mean_k ( sqrt(w_k^2 + epsilon^2) - epsilon )

    w are the detail coefficients. For an orthogonal wavelet and without a border this is their l1 norm per pixel. The transform
    is ptwt's, with reflection at the border.

    Attributes:
        wavelet: A discrete wavelet of PyWavelets, such as "haar", "db4", "sym8", "bior4.4".
        levels: Levels of the transform, or as many as the image allows.
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    wavelet: str = "db4"
    levels: int = 3
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        import pywt

        if self.wavelet not in pywt.wavelist(kind="discrete"):
            raise SettingsError(f"There is no discrete wavelet {self.wavelet!r}; some that exist are 'haar', 'db4' and 'sym8'.")
        if self.levels < 1 or not self.epsilon > 0:
            raise SettingsError(f"Wavelet needs levels of at least 1 and epsilon above 0, got {self.levels}, {self.epsilon}.")

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        import pywt
        from ptwt.conv_transform_2 import wavedec2

        length, side, levels = pywt.Wavelet(self.wavelet).dec_len, min(x.shape[-2:]), 0
        while levels < self.levels and side >= length:  # a reflection is shorter than what it reflects
            side, levels = (side + length - 1) // 2, levels + 1
        if not levels:
            raise SettingsError(
                f"The wavelet {self.wavelet} has {length} taps: too many for {x.shape[-1]}x{x.shape[-2]} pixels."
            )
        # In half precision its filters and the image would differ in type.
        with torch.autocast(x.device.type, enabled=False):
            _, *details = wavedec2(x if x.dtype == torch.float64 else x.float(), self.wavelet, level=levels)
        means = [
            smooth_root(part.square(), self.epsilon).mean() / 4**level
            for level, parts in enumerate(reversed(details), start=1)
            for part in parts
        ]
        return torch.stack(means).sum()


@dataclass(frozen=True)
class BlockDCT(Weighable):
    """l1 norm of the cosine transform of all blocks but for their means, per pixel and channel (Yu & Sapiro 2011).

        R(x) = mean over blocks of 1/size^2 sum_{k > 0} ( sqrt(c_k^2 + epsilon^2) - epsilon ),   c = DCT-II of the block

    Attributes:
        size: Side of the blocks, in pixels, at least 2.
        stride: Pixels between two blocks, from 1 for every position to ``size`` for blocks that do not overlap.
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    size: int = 8
    stride: int = 2
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.size < 2 or not 1 <= self.stride <= self.size or not self.epsilon > 0:
            raise SettingsError(
                "BlockDCT needs a size of at least 2, a stride from 1 to the size, and epsilon above 0; "
                f"got {self.size}, {self.stride}, {self.epsilon}."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        cosines = dct_matrix(self.size).to(x)
        filters = torch.einsum("ki,lj->klij", cosines, cosines).flatten(0, 1)[1:, None]
        coefficients = F.conv2d(x.transpose(0, 1), filters, stride=self.stride)
        return smooth_root(coefficients.square(), self.epsilon).sum(1).mean() / self.size**2


@dataclass(frozen=True)
class HyperLaplacian(Weighable):
    """Gradients with heavy tails, as those of natural images are (Krishnan & Fergus 2009).

        R(x) = mean_p sum over both directions of (d^2 + epsilon^2)^(power / 2) - epsilon^power

    Attributes:
        power: Power of the gradient, in (0, 2]; 0.5 to 0.8 for photographs.
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    power: float = 0.8
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.power <= 2 or not self.epsilon > 0:
            raise SettingsError(
                f"HyperLaplacian needs a power in (0, 2] and epsilon above 0, got {self.power}, {self.epsilon}."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        energies = [(d.square() + self.epsilon**2) ** (self.power / 2) for d in differences(x)]
        total: Tensor = energies[0] + energies[1] - 2 * self.epsilon**self.power
        return total.mean()
