from dataclasses import replace

import pytest

from hybrid_dip.contracts import Task
from hybrid_dip.fitting.solvers import ADMM
from hybrid_dip.recipes.presets import quick
from hybrid_dip.regularisers import TV, schedules
from hybrid_dip.regularisers.terms import as_terms
from hybrid_dip.restoring.longer import parts_over_all_steps


@pytest.mark.parametrize("weight", [0.1, schedules.Balanced(), schedules.WarmUp(0.1, 5), schedules.Steps((0.1, 0.2), (5,))])
def test_what_goes_by_the_step_alone_is_the_same_in_a_longer_fit(noisy: Task, weight: object) -> None:
    assert parts_over_all_steps(quick(noisy), as_terms(weight * TV())) == []


def test_what_runs_over_all_steps_is_named(noisy: Task) -> None:
    recipe = replace(quick(noisy), lr_schedule=schedules.Cosine(1, 0.1), solver=ADMM())
    terms = as_terms([schedules.Linear(0.1, 0) * TV()])
    assert parts_over_all_steps(recipe, terms) == ["the learning rate", f"the weight of {terms[0].name}", "the solver ADMM"]
