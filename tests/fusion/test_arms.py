"""The arms of a stack."""

from dataclasses import replace

import pytest
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.fusion.arms import arms_for, arms_of, default_arms
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.presets import quick
from hybrid_dip.regularisers.terms import Term, Terms


@pytest.fixture
def noisy(photograph: Tensor) -> Task:
    return degradations.noisy(photograph, sigma=0.15).task


def test_arms_are_each_prior_alone_and_all_together() -> None:
    terms = Terms([Term(hd.TV(), 0.1), Term(hd.regularisers.Wavelet(), 0.1)])
    assert [arm.name for arm in arms_of("quick", terms)] == ["dip", "dip+tv", "dip+wavelet", "all"]
    assert [arm.name for arm in arms_of("quick", Terms(terms[:1]))] == ["dip", "dip+tv"]


def names(task: Task) -> list[str]:
    return [arm.name for arm in default_arms(quick, task)]


def test_default_arms_suit_the_task(noisy: Task, photograph: Tensor) -> None:
    own = ["dip", "dip+non-local"]
    assert names(noisy) == [*own, "adapted:denoiser=bundled"]
    assert names(replace(noisy, correlation=(0.6, 0.3))) == [*own, "one-shot:denoiser=camera"]
    assert names(tasks.denoise(photograph, fidelity=hd.fidelity.poisson)) == [*own, "one-shot:denoiser=bundled"]
    assert names(tasks.super_resolve(photograph, factor=2)) == [*own, "plug-and-play:denoiser=bundled"]
    assert names(degradations.scattered(photograph, share=0.5).task) == [*own, "plug-and-play:denoiser=bundled"]
    assert names(tasks.jpeg(photograph)) == own  # plug-and-play would have to know the steps of quantisation


def test_arms_that_are_named_are_taken_alone(noisy: Task) -> None:
    found = arms_for(noisy, quick, Terms(()), ["one-shot"])
    assert [arm.name for arm in found] == ["dip", "one-shot"]
    assert [arm.name for arm in arms_for(noisy, quick, Terms(()))] == names(noisy)
