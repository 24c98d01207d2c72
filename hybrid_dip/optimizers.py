"""Ways to step: each function returns a factory, parameters -> ``torch.optim.Optimizer``."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


def _positive(lr: float) -> None:
    if not 0 < lr <= 1e6:
        raise SettingsError(f"The learning rate must be a number above 0 and at most 1e6, got {lr}.")


def adam(lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.999)) -> OptimizerFactory:
    """Adam (Kingma & Ba 2015), the original's optimiser; all parameters are updated in one pass (torch's fused kernel).

    Args:
        lr: Learning rate, above 0.
        betas: Decay of the mean of the gradients and of their squares, in [0, 1).

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0, or a decay is out of range.
    """
    _positive(lr)
    if not all(0 <= beta < 1 for beta in betas):
        raise SettingsError(f"The decays of Adam must be in [0, 1), got {betas}.")
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)


def lbfgs(lr: float = 1.0, inner_steps: int = 4, history: int = 20) -> OptimizerFactory:
    """L-BFGS with a strong Wolfe line search; one step of the loop is up to ``inner_steps`` of its iterations.

    The jitter is drawn once a step of the loop, so that a line search sees one function.

    Args:
        lr: Length of the first trial step, above 0.
        inner_steps: Iterations a step of the loop.
        history: Curvature pairs remembered.

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0.
    """
    _positive(lr)
    return lambda parameters: torch.optim.LBFGS(
        parameters, lr=lr, max_iter=inner_steps, history_size=history, line_search_fn="strong_wolfe"
    )
