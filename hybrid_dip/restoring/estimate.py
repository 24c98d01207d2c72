"""What a fit will cost, before it starts: parameters, memory, seconds of a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hybrid_dip.contracts import Task
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.recipes.prepare import sketch
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.memory import check_memory
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.trial import seconds_of_a_step


@dataclass(frozen=True)
class Estimate:
    """What a fit will cost.

    Attributes:
        parameters: Number of trainable numbers in the network.
        memory: Bytes at the peak of a step: activations, parameters, gradients and the optimiser's moments; 0 where not known.
        seconds_per_step: Seconds of one step with its regularisers, measured after one to warm up.
    """

    parameters: int
    memory: int
    seconds_per_step: float

    def sentence(self, steps: int, fits: int = 1) -> str:
        """One line for a person."""
        return (
            f"{self.parameters:,} parameters, "
            + (f"about {self.memory / 2**20:,.0f} MiB of memory, " if self.memory else "memory not known beforehand, ")
            + f"{self.seconds_per_step:.3g} s a step: {duration(fits * steps * self.seconds_per_step)} for {steps} steps"
            + (f" in each of {fits} fits" if fits > 1 else "")
        )


def count_parameters(task: Task, recipe: Recipe) -> int:
    """How many trainable numbers the network has, counted without allocating them.

    Args:
        task: The task that the network is made for.
        recipe: The recipe that makes it.

    Returns:
        The number.
    """
    return sum(p.numel() for p in sketch(task, recipe)[0].parameters())


def estimate(
    task: Task, recipe: Recipe, device: torch.device, terms: Sequence[Term] = (), execution: Execution = PLAIN
) -> Estimate:
    """Estimate what a fit will cost. A fit that is too large is refused before anything is allocated.

    Args:
        task: The task that one fit sees.
        recipe: What is to be fitted.
        device: Where it is to be fitted.
        terms: Regularisers.
        execution: How the network is evaluated.

    Returns:
        The estimate.

    Raises:
        TooLargeError: A step needs more memory than the device has free.
        FitError: The objective is not a finite scalar at the first step.
    """
    needed = check_memory(task, recipe, device, execution)
    return Estimate(count_parameters(task, recipe), needed, seconds_of_a_step(task, recipe, terms, device, execution=execution))


LONG = 300.0
"""Seconds from which on a fit counts as long, and a shorter one is named."""
SHORTER = ("fast", "quick")


def shorter_preset(task: Task, device: torch.device, execution: Execution, seconds: float) -> tuple[str, float] | None:
    """A preset that takes less than half the time of a long restoration.

    Args:
        task: The task that one fit sees.
        device: Where it is to be fitted.
        execution: How the network is evaluated.
        seconds: How long all its fits will take.

    Returns:
        Name of the first of ``fast`` and ``quick`` that does, and its seconds, without regularisers; None where none does, or
        the restoration is not long.
    """
    if seconds < LONG:
        return None
    for name in SHORTER:
        recipe = resolve(name, task)
        total = recipe.runs * recipe.steps * seconds_of_a_step(task, recipe, (), device, execution=execution)
        if total < seconds / 2:
            return name, total
    return None


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
