"""A fit that goes on to more steps than it was begun with: which of its parts were made for the number of steps."""

from collections.abc import Sequence

from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.schedules import Balanced, Steps, WarmUp
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.restore import log_interval

BY_STEP = (Balanced, Steps, WarmUp)
"""Schedules whose value at a step does not depend on how many follow."""


def parts_over_all_steps(recipe: Recipe, terms: Sequence[Term], before: int) -> list[str]:
    """What follows another course in a fit of more steps, from its first step on.

    Args:
        recipe: What is fitted, with the new number of steps.
        terms: All regularisers.
        before: The number of steps that it was begun with.

    Returns:
        Names of the parts, for a sentence; empty where a fit that goes on comes to the floats of one that was longer from the
        start. A schedule or solver that is not known counts among them.
    """
    schedules = {"the learning rate": recipe.lr_schedule, **{f"the weight of {term.name}": term.weight for term in terms}}
    named = [name for name, schedule in schedules.items() if callable(schedule) and not isinstance(schedule, BY_STEP)]
    if recipe.fallback is not None and recipe.log_every is None and log_interval(before) != log_interval(recipe.steps):
        named.append("the fallback")  # it looks at logged steps
    return named if recipe.solver is None else [*named, f"the solver {type(recipe.solver).__name__}"]
