"""Noise whose variance grows with the brightness, made white: the generalised Anscombe transform and its way back.

    y = a p + n,   p ~ Poisson(x / a),   n ~ N(0, b),   so that   E y = x,   var y = a x + b

    f(y) = 2 sqrt(y / a + 3/8 + b / a^2)        has noise of deviation near 1 (Murtagh, Starck & Bijaoui 1995)

The algebraic inverse of f would darken: the mean of f(y) is not f(x). The way back here is the exact unbiased inverse, which
maps E f(y) to x, in the closed form of Makitalo & Foi 2013 ("Optimal Inversion of the Generalized Anscombe Transformation").
"""

from torch import Tensor


def stabilise(y: Tensor, a: float | Tensor, b: float | Tensor = 0.0) -> Tensor:
    """Transform an image so that its noise has the deviation 1.

    Args:
        y: Image whose noise has the variance a x + b.
        a: What one photon is worth, above 0; a number, or one for each channel that broadcasts to y.
        b: Variance in the dark, as a.

    Returns:
        f(y), of y's shape.
    """
    return 2 * (y / a + 3 / 8 + b / a**2).clamp(min=0).sqrt()


def unstabilise(d: Tensor, a: float | Tensor, b: float | Tensor = 0.0) -> Tensor:
    """Return to the image of a transformed one: the exact unbiased inverse, in closed form.

        a (d^2 / 4 + sqrt(3/2) / (4 d) - 11 / (8 d^2) + 5 sqrt(3/2) / (8 d^3) - 1/8 - b / a^2)

    Args:
        d: A denoised f(y).
        a: As in :func:`stabilise`.
        b: As there.

    Returns:
        x, of d's shape; 0 where d is below what black gives.
    """
    d = d.clamp(min=2 * (3 / 8) ** 0.5)  # below it the form, which is an expansion for large d, rises again
    root = 1.5**0.5
    counts = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8 - b / a**2
    x: Tensor = a * counts.clamp(min=0)
    return x
