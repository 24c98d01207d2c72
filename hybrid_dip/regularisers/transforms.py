"""The cosine transform as a matrix."""

import math

import torch
from torch import Tensor


def dct_matrix(size: int) -> Tensor:
    """The orthonormal cosine transform, DCT-II (Ahmed, Natarajan & Rao 1974).

    Args:
        size: n, at least 1.

    Returns:
        (n, n), float64; row k holds the k-th cosine, so ``dct_matrix(n) @ v`` is the transform of v.
    """
    index = torch.arange(size, dtype=torch.float64)
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * (index + 0.5) * index[:, None])
    matrix[0] /= math.sqrt(2)
    return matrix
