"""Weights of terms, by data that no fit has seen."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion import tuning
from hybrid_dip.fusion.tuning import most_fits, scale_weight, tune
from hybrid_dip.problem import degradations
from hybrid_dip.regularisers import GuidePixels
from hybrid_dip.regularisers.schedules import Balanced, Cosine
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.stopping.selection import Bootstrap
from tests.fusion.test_stacking import short


@pytest.fixture
def noisy(photograph: Tensor) -> Task:
    return degradations.noisy(photograph, sigma=0.15).task


def test_weights_are_scaled_whatever_they_are() -> None:
    assert scale_weight(Term(hd.TV(), 0.2), 3).weight == pytest.approx(0.6)
    assert scale_weight(Term(hd.TV(), Balanced(0.5)), 3).weight == Balanced(1.5)
    weight = scale_weight(Term(hd.TV(), Cosine(1.0, 0.0)), 3).weight
    assert callable(weight)
    assert weight(hd.terms.Moment(0, 10, torch.ones(()), 0.0)) == pytest.approx(3.0)


def test_tuning_wants_a_right_guide_and_no_wrong_one(noisy: Task, photograph: Tensor) -> None:
    terms = Terms([Term(GuidePixels(photograph), 1.0, "right"), Term(GuidePixels(1 - photograph), 1.0, "wrong")])
    recipe = replace(short(noisy), steps=60)
    found = tune(noisy, recipe, terms)
    assert found.factors["right"] > 1
    assert found.factors["wrong"] == 0
    assert [term.name for term in found.terms] == ["right"]
    assert len(found.trials) < most_fits(terms, Bootstrap())
    best = min(trial.score for trial in found.trials)
    assert best == next(trial.score for trial in found.trials if trial.factors == found.factors)


def test_golden_section_refines_the_best_point_of_the_grid() -> None:
    asked: list[float] = []

    def valley(factor: float) -> float:
        asked.append(factor)
        return (math.log(factor) - math.log(1.7)) ** 2 if factor > 0 else 100.0

    best = tuning._golden(valley, 1.0)
    assert abs(math.log(best / 1.7)) < 0.15
    assert len(set(asked)) == tuning.REFINEMENTS + 1


def test_each_fit_of_a_search_has_its_own_time(noisy: Task) -> None:
    steps: list[int] = []

    def hooks(name: FitName) -> FitHooks:
        return FitHooks(observers=[lambda step: steps.append(step.index)])

    found = tune(noisy, short, [Term(hd.TV(), 0.1)], time_budget=1e-6, hooks=hooks)
    assert steps == [0] * (len(found.trials) + 1), "one step of each trial, and of the fit without priors"


def test_too_few_steps_and_no_terms_are_said(noisy: Task) -> None:
    with pytest.raises(SettingsError, match="leaves none for the short fits"):
        tune(noisy, replace(short(noisy), steps=3), Terms([Term(hd.TV(), 0.1)]))
    with pytest.raises(SettingsError, match="nothing to weigh"):
        tune(noisy, short(noisy), Terms())
