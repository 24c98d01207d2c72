"""A denoiser of Gaussian noise for noise whose variance grows with the brightness."""

from dataclasses import dataclass

from torch import Tensor

from hybrid_dip.problem.stabilisation import stabilise, unstabilise
from hybrid_dip.regularisers.denoisers import Denoiser


@dataclass(frozen=True, eq=False)
class Stabilised:
    """Between :func:`~hybrid_dip.problem.stabilisation.stabilise` and its exact unbiased inverse, any denoiser.

    Attributes:
        denoiser: (x, sigma) -> x, for white Gaussian noise.
        a: Variance of the noise for one unit of brightness; a number, or one for each channel that broadcasts to the image.
        b: Variance of the noise in the dark, as a.
    """

    denoiser: Denoiser
    a: float | Tensor
    b: float | Tensor = 0.0

    def __call__(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Denoise.

        Args:
            x: (1, C, H, W) with noise of the variance a x + b.
            sigma: Not looked at: the level follows from a and b.

        Returns:
            The clean image, of the same shape.
        """
        d = stabilise(x, self.a, self.b)
        size = max(float(d.max()), 1.0)  # the denoiser's images are in [0, 1]
        return unstabilise(size * self.denoiser(d / size, 1 / size), self.a, self.b)
