"""The learning rates of an optimiser along a fit."""

import torch
from torch import optim

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Moment, Schedule


class LearningRates:
    """The rates that an optimiser was made with, times a schedule.

    Args:
        optimizer: The optimiser.
        schedule: Factor of the rates along the fit, or None for 1.
        steps: Steps that the fit takes at most.

    Raises:
        SettingsError: The schedule is a balanced weight.
    """

    def __init__(self, optimizer: optim.Optimizer, schedule: Schedule | None, steps: int):
        if isinstance(schedule, Balanced):
            raise SettingsError(
                "A balanced weight depends on a regulariser's gradient; it is no schedule for the learning rate."
            )
        self.optimizer, self.schedule, self.steps = optimizer, schedule, steps
        self.rates = [group["lr"] for group in optimizer.param_groups]

    def set(self, step: int, factor: float) -> float:
        """Set the rates of a step.

        Args:
            step: Index of the step.
            factor: Another factor of all rates.

        Returns:
            The rate of the first group, which is the one that is logged.
        """
        if self.schedule is not None:
            factor *= float(self.schedule(Moment(step, self.steps, torch.ones(()), 0.0)))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        first: float = self.rates[0] * factor
        return first
