"""lambda_k(t): the weight of each term along a fit."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import FitError, blame_errors_on
from hybrid_dip.fitting.parts import Occasion
from hybrid_dip.problem.noise_gradient import noise_gradient
from hybrid_dip.regularisers.terms import Moment, Term, Terms

BALANCING_STEPS = 20
"""Steps over which the gradient norm of a term is averaged for balanced weights, then frozen."""


class Lambdas:
    """The weights of all terms. Balanced ones are made from the mean norm of a term's gradient over the first steps.

    Args:
        terms: lambda_k R_k.
        task: The task to fit.
        steps: Steps that the fit takes at most; schedules run over them.
    """

    def __init__(self, terms: Terms, task: Task, steps: int):
        self.steps = steps
        self.noise_gradient = noise_gradient(task) if any(callable(term.weight) for term in terms) else 0.0
        self.norms = {term.name: torch.zeros((), device=task.observation.device) for term in terms}
        self.counted = 0

    def weigh(self, term: Term, norm: Tensor, occasion: Occasion) -> Tensor:
        """A term's weight now. During the first steps its gradient norm enters the mean.

        Args:
            term: One of the terms.
            norm: Norm of its unweighted gradient now, ().
            occasion: When.

        Returns:
            lambda, ().

        Raises:
            FitError: The schedule fails, or its value is not finite on the first occasion.
        """
        norm = norm.detach()
        if self.counted < BALANCING_STEPS and not occasion.again:
            self.norms[term.name] = self.norms[term.name] + (norm - self.norms[term.name]) / (self.counted + 1)
        with blame_errors_on(f"The weight of '{term.name}'", str(occasion)):
            value: float | Tensor
            if callable(term.weight):
                value = term.weight(Moment(occasion.step, self.steps, self.norms[term.name], self.noise_gradient))
            else:
                value = term.weight
            # A tensor made from a number by filling needs no copy from the host.
            weight = value.to(norm) if isinstance(value, Tensor) else torch.full_like(norm, value)
        if occasion.first and not math.isfinite(float(weight)):
            raise FitError(f"The weight of '{term.name}' is {float(weight)} at the first step; a finite number was expected.")
        return weight

    def count(self, occasion: Occasion) -> None:
        """Count an evaluation of all terms among those that the means are over."""
        if self.counted < BALANCING_STEPS and not occasion.again:
            self.counted += 1

    def state_dict(self) -> dict[str, Any]:
        """The running means, for a checkpoint."""
        return {"norms": dict(self.norms), "counted": self.counted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.norms, self.counted = dict(state["norms"]), state["counted"]
