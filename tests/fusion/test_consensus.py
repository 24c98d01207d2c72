"""Consensus equilibrium against the minimum that it is for quadratic agents, and of real agents."""

from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion import consensus
from hybrid_dip.problem import degradations
from hybrid_dip.regularisers import RED, GuidePixels
from hybrid_dip.regularisers.terms import Term, Terms
from tests.recipes.test_published import small

SHAPE = (1, 1, 16, 16)


def towards(target: Tensor, strength: float) -> Any:
    """The prox of strength |x - target|^2 / 2."""
    return lambda v: (v + strength * target) / (1 + strength)


def test_equilibrium_of_proximal_maps_minimises_the_weighted_sum() -> None:
    targets, strengths, mu = [torch.rand(SHAPE) for _ in range(3)], [0.5, 2.0, 4.0], [1.0, 2.0, 0.5]
    agents = [towards(target, strength) for target, strength in zip(targets, strengths, strict=True)]
    found = consensus.equilibrium(agents, torch.zeros(SHAPE), weights=mu, rounds=500, tolerance=1e-7)
    scaled = [m * s for m, s in zip(mu, strengths, strict=True)]
    expected = sum(weight * target for weight, target in zip(scaled, targets, strict=True)) / sum(scaled)
    assert torch.allclose(found.image, expected, atol=1e-5)
    assert found.disagreement[-1] < 1e-6
    assert bool((found.answers - found.image).abs().max() < 1e-5)


def test_the_data_agent_and_a_guide_meet_at_the_map(photograph: Tensor) -> None:
    """Both on the scale of the posterior: argmin |x - y|^2 / (2 sigma^2) + n lambda mean |x - g|^2 / (2 sigma^2)."""
    task = degradations.noisy(photograph, sigma=0.1).task
    guide = torch.rand(task.shape)
    agents = [consensus.DataAgent(task, 0.1), consensus.TermAgent(Term(GuidePixels(guide), 0.5), task, 0.1)]
    found = consensus.equilibrium(agents, task.observation, rounds=300, tolerance=1e-7)
    assert torch.allclose(found.image, (task.observation + 0.5 * guide) / 1.5, atol=1e-4)


def test_data_and_a_denoiser_alone_agree_on_the_denoised_observation(photograph: Tensor) -> None:
    """x = D(x + u) and x = (y + x - u) / 2 give u = y - x, so x = D(y)."""
    task = degradations.noisy(photograph, sigma=0.1).task

    def shrink(x: Tensor, sigma: float) -> Tensor:
        return 0.25 + 0.5 * x

    agents = [consensus.DataAgent(task, 0.1), consensus.TermAgent(Term(RED(shrink), 1.0), task, 0.1)]
    found = consensus.equilibrium(agents, task.observation, rounds=300, tolerance=1e-7)
    assert torch.allclose(found.image, shrink(task.observation, 0.1), atol=1e-4)


def test_data_network_and_denoiser_agree_on_a_better_image(photograph: Tensor) -> None:
    case = degradations.noisy(photograph, sigma=0.2)

    def blur(x: Tensor, sigma: float) -> Tensor:
        return hd.operators.GaussianBlur(0.7)(x)

    terms = Terms([Term(RED(blur), 1.0, "red"), Term(hd.TV(), 0.05)])
    found = consensus.agree(case.task, small(case.task), terms, rounds=6, steps=5)
    assert found.names == ("data", "dip", "red", "tv")
    assert found.equilibrium.disagreement[-1] < found.equilibrium.disagreement[0]
    assert hd.metrics.psnr(found.image, case.reference) > hd.metrics.psnr(case.task.observation, case.reference)
    again = consensus.agree(case.task, small(case.task), terms, rounds=6, steps=5)
    assert torch.equal(again.image, found.image)
    short = consensus.agree(case.task, small(case.task), terms, rounds=1, steps=1, time_budget=1e-6)
    assert (short.first.fits[0].steps, short.first.fits[0].reason) == (1, "time budget")


def test_what_cannot_take_part_is_named(photograph: Tensor) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task
    for term in (Term(hd.TV(), hd.schedules.Balanced()), Term(hd.regularisers.WeightDecay(), 0.1)):
        with pytest.raises(SettingsError, match=f"'{term.name}' cannot take part"):
            consensus.agree(task, "quick", Terms([term]))
    with pytest.raises(SettingsError, match="Gaussian noise or none"):
        consensus.agree(hd.tasks.denoise(photograph, fidelity=hd.fidelity.l1), "quick", Terms())


def test_bad_numbers() -> None:
    agent = towards(torch.zeros(SHAPE), 1.0)
    for options in ({"rho": 1.0}, {"rounds": 0}, {"weights": [1.0, 2.0]}, {"weights": [-1.0]}):
        with pytest.raises(SettingsError, match="A consensus needs"):
            consensus.equilibrium([agent], torch.zeros(SHAPE), **options)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="A consensus needs"):
        consensus.equilibrium([], torch.zeros(SHAPE))
