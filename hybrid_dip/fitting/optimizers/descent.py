"""The steps of Adam, of RAdam and of L-BFGS."""

import torch

from hybrid_dip.fitting.optimizers.factory import OptimizerFactory, check_decays, check_rates


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
    check_rates(lr)
    check_decays(*betas)
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)


def radam(lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.999)) -> OptimizerFactory:
    """RAdam (Liu et al. 2020): Adam whose first steps are plain momentum, until the mean of the squares can be relied on.

    Args:
        lr: Learning rate, above 0.
        betas: Decay of the mean of the gradients and of their squares, in [0, 1).

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0, or a decay is out of range.
    """
    check_rates(lr)
    check_decays(*betas)
    return lambda parameters: torch.optim.RAdam(parameters, lr=lr, betas=betas)


def lbfgs(lr: float = 1.0, inner_steps: int = 4, history: int = 20) -> OptimizerFactory:
    """L-BFGS with a strong Wolfe line search; one step of the loop is up to ``inner_steps`` of its iterations.

    The jitter is drawn once for each step of the loop, so that a line search sees one function.

    Args:
        lr: Length of the first trial step, above 0.
        inner_steps: Iterations in a step of the loop.
        history: Number of curvature pairs that are remembered.

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0.
    """
    check_rates(lr)
    return lambda parameters: torch.optim.LBFGS(
        parameters, lr=lr, max_iter=inner_steps, history_size=history, line_search_fn="strong_wolfe"
    )
