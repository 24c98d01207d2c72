"""A prior of DeepInverse as a regulariser."""

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.terms import Weighable


@dataclass(frozen=True, eq=False)
class Prior(Weighable):
    """A deepinv prior as a regulariser: its cost g(x) of the whole image, divided by the number of entries.

    Attributes:
        of: A ``deepinv.optim.Prior`` with a cost; on the command line
            ``hybrid_dip.deepinv:Prior:of=deepinv.optim:TVPrior``.
        sigma: Noise level for a prior whose cost depends on one; None for one whose cost does not.
    """

    of: Annotated[Any, "regularisers"]
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not getattr(self.of, "explicit_prior", False):
            raise SettingsError(
                f"{type(self.of).__name__} of deepinv has no cost, only a proximal operator or a gradient; "
                "use its denoiser in RED instead."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return g(x) / n for x of shape (1, C, H, W), as ()."""
        cost: Tensor = self.of(x) if self.sigma is None else self.of(x, self.sigma)
        return cost.sum() / x.numel()
