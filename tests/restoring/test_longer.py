from dataclasses import replace

import pytest

from hybrid_dip.contracts import Task
from hybrid_dip.fitting.solvers import ADMM
from hybrid_dip.recipes.presets import original, quick
from hybrid_dip.regularisers import TV, schedules
from hybrid_dip.regularisers.terms import as_terms
from hybrid_dip.restoring.longer import parts_over_all_steps


@pytest.mark.parametrize("weight", [0.1, schedules.Balanced(), schedules.WarmUp(0.1, 5), schedules.Steps((0.1, 0.2), (5,))])
def test_what_goes_by_the_step_alone_is_the_same_in_a_longer_fit(noisy: Task, weight: object) -> None:
    assert parts_over_all_steps(replace(quick(noisy), fallback=None), as_terms(weight * TV()), 100) == []


def test_what_runs_over_all_steps_is_named(noisy: Task) -> None:
    recipe = replace(quick(noisy), fallback=None, lr_schedule=schedules.Cosine(1, 0.1), solver=ADMM())
    terms = as_terms([schedules.Linear(0.1, 0) * TV()])
    assert parts_over_all_steps(recipe, terms, 100) == [
        "the learning rate",
        f"the weight of {terms[0].name}",
        "the solver ADMM",
    ]


def test_a_fallback_that_looks_at_other_steps_is_named(noisy: Task) -> None:
    recipe = original(noisy)
    assert recipe.fallback
    assert parts_over_all_steps(replace(recipe, steps=6000), [], 3000) == []
    assert parts_over_all_steps(replace(recipe, steps=3000), [], 300) == ["the fallback"]
