"""E(A x; y): how well a prediction explains the observation, one function for each noise model.

Each is a mean over all entries, measured or not, as in the original; ``weight`` is 1 where an entry was measured and 0 where
it was not.
"""

import torch
from torch import Tensor

FLOOR = 1e-3
"""Added to A x and to y where a likelihood divides by A x: the gradient stays finite at black, the minimum at A x = y."""


def _mean(loss: Tensor, weight: Tensor | None) -> Tensor:
    return (loss if weight is None else loss * weight).mean()


def gaussian(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of squares, the likelihood of Gaussian noise: mean (w (A x - y)^2).

    Args:
        prediction: A x.
        observation: y, of the same shape.
        weight: 1 where an entry was measured, 0 elsewhere; None for all ones.

    Returns:
        ().
    """
    return _mean((prediction - observation).square(), weight)


def l1(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of absolute values: robust to outliers such as salt and pepper; the likelihood of Laplacian noise.

    Args:
        prediction: A x.
        observation: y, of the same shape.
        weight: 1 where an entry was measured, 0 elsewhere; None for all ones.

    Returns:
        ().
    """
    return _mean((prediction - observation).abs(), weight)


def poisson(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """Poisson likelihood as the generalised Kullback-Leibler divergence: mean w (u - v + v log(v / u)).

    u = A x + c and v = y + c with c = :data:`FLOOR`; for photon counts N = peak * y it is the negative
    log-likelihood divided by the peak, less a constant, so the number of photons does not enter (Csiszar 1991; Bertero et
    al. 2010).

    Args:
        prediction: A x; values below zero count as zero.
        observation: y, at least 0, of the same shape.
        weight: 1 where an entry was measured, 0 elsewhere; None for all ones.

    Returns:
        (), at least 0, and 0 where A x = y.
    """
    u = prediction.clamp(min=0) + FLOOR
    v = observation.clamp(min=0) + FLOOR
    return _mean(u - v + v * torch.log(v / u), weight)


def speckle(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """Likelihood of speckle (coherent imaging: radar, lasers) as the Itakura-Saito divergence: mean w (v / u - log(v / u) - 1).

    u = A x + c and v = y + c with c = :data:`FLOOR`; for an intensity y = A x * n, n Gamma-distributed with mean 1 and
    variance 1 / L, it is the negative log-likelihood divided by L, less a constant, so the number of looks L does not enter
    (Aubert & Aujol 2008).

    Args:
        prediction: A x; values below zero count as zero.
        observation: y, at least 0, of the same shape: an intensity, the square of an amplitude.
        weight: 1 where an entry was measured, 0 elsewhere; None for all ones.

    Returns:
        (), at least 0, and 0 where A x = y.
    """
    u = prediction.clamp(min=0) + FLOOR
    v = observation.clamp(min=0) + FLOOR
    return _mean(v / u - torch.log(v / u) - 1, weight)
