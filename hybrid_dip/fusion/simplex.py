"""Weights of at least 0 that sum to 1 and make a quadratic form smallest, exactly, for many forms at once."""

from itertools import combinations

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError

MOST = 8
"""Most weights: all subsets of them are tried."""


def simplex_weights(gram: Tensor) -> Tensor:
    """argmin_w w^T G w over the simplex, by trying which weights are zero.

    With G_ab = mean r_a r_b for the residuals r_a of several images, w makes the combination with the smallest squared error.
    On a face of the simplex the minimum is at w = G^-1 1 / (1^T G^-1 1), restricted to that face. The answer is on the best
    face whose weights are all positive. It meets the conditions of Karush, Kuhn and Tucker: G w equals its smallest entry
    wherever w is not zero.

    Args:
        gram: G, (..., K, K), symmetric and positive semidefinite, with K at most 8.

    Returns:
        w, (..., K), in double precision.

    Raises:
        SettingsError: There are more than 8 weights.
    """
    count = gram.shape[-1]
    if count > MOST:
        raise SettingsError(f"At most {MOST} images can be combined, got {count}.")
    exact = gram.double()
    # Two equal images make G singular: a very small ridge shares the weight between them.
    ridge = 1e-12 * exact.diagonal(dim1=-2, dim2=-1).mean(-1) + 1e-30
    exact = exact + ridge[..., None, None] * torch.eye(count, dtype=exact.dtype, device=exact.device)
    best = torch.zeros(gram.shape[:-1], dtype=exact.dtype, device=gram.device)
    least = torch.full(gram.shape[:-2], torch.inf, dtype=exact.dtype, device=gram.device)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            index = torch.tensor(chosen, device=gram.device)
            face = exact.index_select(-1, index).index_select(-2, index)
            solved = torch.linalg.solve(face, torch.ones(*face.shape[:-1], 1, dtype=exact.dtype, device=gram.device))[..., 0]
            weights = solved / solved.sum(-1, keepdim=True)
            value = torch.einsum("...a,...ab,...b->...", weights, face, weights)
            better = (weights >= 0).all(-1) & (value < least)
            least = torch.where(better, value, least)
            whole = torch.zeros_like(best).index_copy(-1, index, weights)
            best = torch.where(better[..., None], whole, best)
    return best
