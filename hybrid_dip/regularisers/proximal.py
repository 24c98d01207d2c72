"""The proximal map of any regulariser: its own where it has one, otherwise by descent."""

import torch
from torch import Tensor

from hybrid_dip.regularisers.terms import Regulariser

ITERATIONS = 20
"""Iterations of L-BFGS at most."""


def proximal(regulariser: Regulariser, v: Tensor, gamma: float) -> Tensor:
    """argmin_x |x - v|^2 / 2 + gamma R(x), R a mean per pixel (Moreau 1962).

    Args:
        regulariser: R; its method ``prox(v, gamma)`` is called where it has one, otherwise L-BFGS descends from v.
        v: (1, C, H, W), without a graph.
        gamma: Weight of R, at least 0.

    Returns:
        x, of the same shape, without a graph.
    """
    if gamma == 0:
        return v
    own = getattr(regulariser, "prox", None)
    return own(v, gamma).detach() if callable(own) else descent(regulariser, v, gamma)


def descent(regulariser: Regulariser, v: Tensor, gamma: float) -> Tensor:
    """The same by L-BFGS, whether or not R has a ``prox``.

    Args:
        regulariser: R.
        v: (1, C, H, W), where the descent begins.
        gamma: Weight of R, at least 0.

    Returns:
        x, without a graph.
    """
    x = v.clone().requires_grad_()
    stepper = torch.optim.LBFGS([x], max_iter=ITERATIONS, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0)

    def evaluate() -> Tensor:
        stepper.zero_grad()
        value = (x - v).square().sum() / 2 + gamma * regulariser(x)
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        stepper.step(evaluate)  # type: ignore[no-untyped-call]
    return x.detach()
