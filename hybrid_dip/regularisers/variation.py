"""Total variation: small for images that are flat between few edges."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Weighable
from hybrid_dip.errors import SettingsError


@dataclass(frozen=True)
class TV(Weighable):
    """Isotropic total variation, a mean per pixel and channel (Rudin, Osher & Fatemi 1992).

        TV(x) = mean_p ( sqrt(|x(p + down) - x(p)|^2 + |x(p + right) - x(p)|^2 + epsilon^2) - epsilon )

    Differences across the border are zero. The epsilon inside the root keeps the gradient finite where the image is flat.

    Attributes:
        epsilon: In units of [0, 1], above 0.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise SettingsError(f"TV needs an epsilon above 0, got {self.epsilon}.")

    def __call__(self, x: Tensor) -> Tensor:
        """Return TV(x) for x of shape (1, C, H, W), as ()."""
        down = F.pad(x.diff(dim=-2), (0, 0, 0, 1))
        right = F.pad(x.diff(dim=-1), (0, 1, 0, 0))
        squared: Tensor = down.square() + right.square()
        return (torch.sqrt(squared + self.epsilon**2) - self.epsilon).mean()
