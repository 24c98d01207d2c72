"""The same floats from several threads at once, and nothing drawn from the caller's random state."""

import asyncio
import copy
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Observer, Task
from hybrid_dip.fitting.random_state import Draws
from hybrid_dip.networks import latents
from hybrid_dip.restoring.hooks import FitHooks

SEEDS = (0, 1, 2, 0)


def caller_s_state() -> list[Any]:
    cuda = [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(), cuda]  # noqa: NPY002


class Dropping(nn.Module):
    """A network that draws whenever it is evaluated."""

    def __init__(self, in_channels: int, out_channels: int, share: float = 0.3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.Dropout2d(share), nn.Conv2d(8, out_channels, 1))

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(z))


def drawing(x: Tensor) -> Tensor:
    """A prior that draws in several ways, one of which takes no generator."""
    draws = torch.rand_like(x) + torch.randn(x.shape) + torch.randint(3, x.shape) + torch.empty_like(x).uniform_()
    return (x * draws + torch.rrelu(x, training=True)).square().mean()


RECIPE = hd.Recipe(
    partial(Dropping, share=0),
    partial(latents.uniform, channels=8),
    steps=3,
    jitter=0.03,
    parameter_noise=0.02,
)
RECIPES = {
    "plain": RECIPE,
    "drops": replace(RECIPE, network=Dropping),
    "sgld": replace(RECIPE, optimizer=hd.optimizers.sgld),
    "self-guided": replace(RECIPE, latent=partial(latents.uniform, channels=3), solver=hd.solvers.SelfGuided()),
}


@pytest.fixture
def task() -> Task:
    return hd.tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.1)


def one_after_the_other(work: Callable[[int], Any]) -> list[Any]:
    return [work(seed) for seed in SEEDS]


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        return list(pool.map(work, SEEDS))


def in_asyncio(work: Callable[[int], Any]) -> list[Any]:
    async def gather() -> Sequence[Any]:
        return await asyncio.gather(*(asyncio.to_thread(work, seed) for seed in SEEDS))

    return list(asyncio.run(gather()))


@pytest.mark.parametrize("name", RECIPES)
def test_several_restorations_at_once_give_the_floats_of_one_after_the_other(task: Task, name: str) -> None:
    terms = [0.1 * hd.TV(), hd.Term(drawing, 0.01)]

    def work(seed: int, observers: Sequence[Observer] = ()) -> Tensor:
        made = hd.restore(
            task, preset=RECIPES[name], regularisers=terms, seed=seed, device="cpu", hooks=lambda _: FitHooks(observers)
        )
        return made.image

    expected = one_after_the_other(work)
    assert torch.equal(expected[0], expected[3])
    assert not torch.equal(expected[0], expected[1])
    for way in (in_threads, in_asyncio):
        assert all(torch.equal(*pair) for pair in zip(way(work), expected, strict=True))
    # Whoever else draws in the meantime neither disturbs the fit nor is disturbed.
    assert torch.equal(work(0, [lambda step: torch.manual_seed(3)]), expected[0])
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(3).get_state())


def test_several_fits_at_once_leave_the_caller_s_state_to_the_caller(task: Task) -> None:
    """Each thread looks at the state itself, while the others fit; a fit begins with the caller's numbers as they are."""
    torch.manual_seed(7)
    network, z = RECIPE.network(8, 3), latents.uniform(8, (16, 16))
    state = caller_s_state()

    def work(seed: int) -> Tensor:
        own = copy.deepcopy(network)
        before = caller_s_state()
        found = hd.fit(own, z, task, hd.Term(drawing, 0.01), max_steps=3, jitter=0.03, parameter_noise=0.02).image
        assert before == caller_s_state() == state
        return found

    expected = one_after_the_other(work)
    for way in (in_threads, in_asyncio):
        assert all(torch.equal(found, expected[0]) for found in way(work))
    torch.manual_seed(8)
    assert not torch.equal(hd.fit(network, z, task, max_steps=3, jitter=0.03).image, expected[0])


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.rand(3),
        lambda x: torch.randn(3),
        lambda x: torch.randint(9, (3,)),
        lambda x: torch.randint(1, 9, (3,)),
        lambda x: torch.randperm(9),
        torch.rand_like,
        torch.randn_like,
        lambda x: torch.randint_like(x, 9),
        lambda x: torch.normal(x, 1.0),
        torch.bernoulli,
        torch.poisson,
        lambda x: torch.multinomial(x[0], 2),
        lambda x: torch.dropout(x, 0.5, True),
        lambda x: torch.rrelu(x, training=True),
        lambda x: nn.functional.gumbel_softmax(x),
        lambda x: nn.init.orthogonal_(torch.empty_like(x)),
        lambda x: nn.Conv2d(2, 2, 3).weight.detach(),
    ],
)
def test_all_that_torch_draws_is_drawn_from_the_source(draw: Callable[[Tensor], Tensor]) -> None:
    """The numbers are those of torch's own state after the same seed."""
    x = torch.full((4, 4), 0.5)
    torch.manual_seed(3)
    expected = [draw(x), draw(x)]
    before = torch.manual_seed(5).get_state()
    with Draws(3):
        found = [draw(x), draw(x)]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert torch.equal(before, torch.get_rng_state())
