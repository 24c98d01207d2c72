"""What all optimisers here are given as, and the range of their options."""

from collections.abc import Callable, Iterable
from numbers import Real

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError, describe_given

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
"""Parameters -> optimiser."""


def draw_from(generator: torch.Generator, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let an optimiser that adds noise, such as :func:`hybrid_dip.fitting.optimizers.sgld`, draw it from a generator.

    Args:
        generator: On the device of the parameters.
        optimizer: Any optimiser; one that draws has an attribute ``generator``.

    Returns:
        The optimiser.
    """
    if hasattr(optimizer, "generator"):
        optimizer.generator = generator
    return optimizer


def check_rates(*rates: float) -> None:
    """Refuse learning rates that are not above 0.

    Args:
        rates: Learning rates.

    Raises:
        SettingsError: One is out of range.
    """
    for rate in rates:
        if not isinstance(rate, Real) or not 0 < rate <= 1e6:
            raise SettingsError(f"The learning rate must be a number above 0 and at most 1e6, got {describe_given(rate)}.")


def check_decays(*decays: float) -> None:
    """Refuse decays out of [0, 1).

    Args:
        decays: Decays of running means.

    Raises:
        SettingsError: One is out of range.
    """
    if not all(0 <= decay < 1 for decay in decays):
        raise SettingsError(f"An optimiser's decays must be in [0, 1), got {', '.join(map(str, decays))}.")
