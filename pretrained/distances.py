"""Distances between feature maps, relative to the target: at each place, or of what the maps hold at any place."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]

LEAST = 1e-8
"""Added to divisors."""
DIRECTIONS = 32
"""Directions of the sliced Wasserstein distance."""
MOST_PLACES = 1024
"""Places of the contextual loss at most; it compares each with each."""
BANDWIDTH = 0.5
"""h of the contextual loss, the authors' own."""


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference over the mean square of the target (Johnson, Alahi & Fei-Fei 2016).

        d = mean (a - b)^2 / mean b^2

    Args:
        a: Features of the image, (1, C, h, w).
        b: Features of the target, of the same shape.

    Returns:
        The distance, ().
    """
    return (a - b).square().mean() / (b.square().mean() + LEAST)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine between the vectors at each place, a mean over places.

    Args:
        a: Features of the image, (1, C, h, w).
        b: Features of the target, of the same shape.

    Returns:
        The distance, ().
    """
    return 1 - F.cosine_similarity(a, b, dim=1, eps=1e-4).mean()


def gram(a: Tensor, b: Tensor) -> Tensor:
    """Style: which channels occur together, at any place (Gatys, Ecker & Bethge 2016).

        d = |G(a) - G(b)|^2 / |G(b)|^2,   G(f) = f f^T / places

    Args:
        a: Features of the image, (1, C, h, w).
        b: Features of the target, (1, C, h', w').

    Returns:
        The distance, ().
    """
    mine, other = _gram(a), _gram(b)
    return (mine - other).square().sum() / (other.square().sum() + LEAST)


def _gram(f: Tensor) -> Tensor:
    rows = f[0].flatten(1)
    return rows @ rows.T / rows.shape[1]


def sliced_wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Distance between the distributions of the vectors, along random directions (Heitz et al. 2021).

        d = mean over directions v of mean_q (Q_q(<v, a>) - Q_q(<v, b>))^2 / var <v, b>

    The directions are the same at each call, so that a fit has an energy.

    Args:
        a: Features of the image, (1, C, h, w).
        b: Features of the target, (1, C, h', w').

    Returns:
        The distance, ().
    """
    drawn = torch.randn(DIRECTIONS, a.shape[1], generator=torch.Generator().manual_seed(0))
    directions = F.normalize(drawn, dim=1).to(a)
    mine, other = ((directions @ f[0].flatten(1)).sort(1).values for f in (a, b))
    resampled = F.interpolate(other[None], mine.shape[1], mode="linear", align_corners=mine.shape[1] > 1)[0]
    return (mine - resampled).square().mean() / (other.var(1, correction=0).mean() + LEAST)


def contextual(a: Tensor, b: Tensor) -> Tensor:
    """Each vector of the target should match one of the image, at any place (Mechrez, Talmi & Zelnik-Manor 2018).

        d_ij = 1 - cos(a_i - m, b_j - m),   w_ij = exp((1 - d_ij / min_j d_ij) / h),   c_ij = w_ij / sum_j w_ij
        d = - log mean_j max_i c_ij,   m the mean of b

    Args:
        a: Features of the image, (1, C, h, w).
        b: Features of the target, (1, C, h', w').

    Returns:
        The distance, ().
    """
    centre = b.mean((2, 3), keepdim=True)
    mine, other = (F.normalize(_places(f - centre), dim=1, eps=1e-4) for f in (a, b))
    apart = (1 - mine @ other.T).clamp_min(0)
    relative = apart / (apart.amin(1, keepdim=True) + 1e-5)
    likeness = ((1 - relative) / BANDWIDTH).softmax(1)
    return -(likeness.amax(0).mean() + LEAST).log()


def _places(f: Tensor) -> Tensor:
    """Vectors (places, C), evenly thinned to at most MOST_PLACES."""
    rows = f[0].flatten(1).T
    if len(rows) <= MOST_PLACES:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, MOST_PLACES, device=f.device).round().long()]


DISTANCES: dict[str, Distance] = {
    "mse": mse,
    "cosine": cosine,
    "gram": gram,
    "sliced-wasserstein": sliced_wasserstein,
    "contextual": contextual,
}
ALIKE = ("mse", "cosine")
"""Distances that compare at each place, and so need maps of one size."""
