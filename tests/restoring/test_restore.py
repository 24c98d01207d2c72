from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.contracts import Step
from hybrid_dip.errors import SettingsError
from hybrid_dip.networks import latents
from hybrid_dip.recipes import presets
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.restore import log_interval
from tests.fits import WhenOver


@pytest.fixture
def recipe() -> hd.Recipe:
    network = partial(networks.skip, down=(8, 8), skip=(4, 4), upsample="bilinear")
    return hd.Recipe(network, partial(latents.uniform, channels=8), steps=20, jitter=0.03, average=0.9)


@pytest.fixture
def task(photograph: Tensor) -> hd.Task:
    return hd.degradations.noisy(photograph, sigma=0.1).task


def test_a_seed_gives_the_same_floats_again(task: hd.Task, recipe: hd.Recipe) -> None:
    before = torch.get_rng_state()
    first = hd.restore(task, preset=recipe, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert torch.equal(hd.restore(task, preset=recipe, seed=3).image, first.image)
    assert not torch.equal(hd.restore(task, preset=recipe, seed=4).image, first.image)


def test_restore_follows_the_originals_draws_step_by_step(task: hd.Task, recipe: hd.Recipe) -> None:
    """Against the original's loop, written out plainly: seed, network, latent, then one normal draw a step."""
    found = hd.restore(task, preset=recipe, seed=11)
    torch.manual_seed(11)
    network = recipe.network(8, 3)
    z = latents.uniform(8, (32, 32))
    adam = torch.optim.Adam(network.parameters(), lr=recipe.lr)
    average = None
    for _ in range(recipe.steps):
        adam.zero_grad()
        out = network(z + torch.zeros_like(z).normal_() * recipe.jitter)
        average = out.detach() if average is None else average * 0.9 + out.detach() * (1 - 0.9)
        loss = torch.nn.functional.mse_loss(out, task.observation)
        loss.backward()
        adam.step()
    torch.testing.assert_close(found.raw, average, atol=1e-5, rtol=0)


def test_runs_are_averaged_and_their_deviation_is_given(task: hd.Task, recipe: hd.Recipe) -> None:
    both = hd.restore(task, preset=recipe, seed=0, runs=2)
    single = [hd.restore(task, preset=recipe, seed=seed).image for seed in (0, 1)]
    torch.testing.assert_close(both.image, torch.stack(single).mean(0))
    assert both.deviation is not None
    torch.testing.assert_close(both.deviation, torch.stack(single).std(0))
    assert both.seeds == (0, 1)


def test_the_example_of_the_readme(photograph: Tensor) -> None:
    def laplacian(x: Tensor) -> Tensor:
        lap = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2] - 4 * x[..., 1:-1, 1:-1]
        return lap.square().mean()

    task = hd.tasks.denoise(photograph, sigma=25 / 255)
    result = hd.restore(task, preset="quick", steps=3, regularisers=[0.05 * hd.TV(), hd.Term(laplacian, 0.01)])
    assert result.terms == {"tv": "0.05", "laplacian": "0.01"}
    assert {"tv", "laplacian", "gradient_tv"} <= set(result.fits[0].history[0])
    assert 0 <= float(result.image.min()) <= float(result.image.max()) <= 1


def test_hooks_are_made_for_each_seed(task: hd.Task, recipe: hd.Recipe) -> None:
    steps: dict[int, list[Step]] = {}
    closed: list[int] = []

    def hooks(name: FitName) -> FitHooks:
        steps[name.seed] = []
        return FitHooks(observers=[steps[name.seed].append, WhenOver(lambda: closed.append(name.seed))])

    hd.restore(task, preset=replace(recipe, steps=3), seed=5, runs=2, hooks=hooks)
    assert {seed: len(seen) for seed, seen in steps.items()} == {5: 3, 6: 3}
    assert closed == [5, 6]


@pytest.mark.parametrize("name", ["uniform", "normal", "meshgrid", "fourier"])
def test_every_latent_serves(task: hd.Task, recipe: hd.Recipe, name: str) -> None:
    makers: dict[str, Any] = {
        "uniform": partial(latents.uniform, 4),
        "normal": partial(latents.normal, 4),
        "meshgrid": latents.meshgrid,
        "fourier": latents.fourier,
    }
    result = hd.restore(task, preset=replace(recipe, latent=makers[name], steps=2))
    assert result.image.shape == task.shape


def test_channels_follow_the_image(recipe: hd.Recipe) -> None:
    for channels in (1, 3, 5):
        task = hd.tasks.denoise(torch.rand(1, channels, 16, 21), sigma=0.1)
        assert hd.restore(task, preset=replace(recipe, steps=2)).image.shape == (1, channels, 16, 21)


def test_without_an_architecture(task: hd.Task, recipe: hd.Recipe) -> None:
    result = hd.restore(task, preset=replace(recipe, network=networks.pixels, steps=200, jitter=0, average=None, lr=0.05))
    torch.testing.assert_close(result.raw, task.observation, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "orignal"}, "did you mean 'original'"),
        ({"steps": 0}, "steps"),
        ({"runs": 0}, "runs"),
        ({"device": "gpu"}, "Unknown device"),
    ],
)
def test_bad_options(task: hd.Task, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        hd.restore(task, **options)


def test_histories_have_about_sixty_rows() -> None:
    assert [log_interval(steps) for steps in (1, 60, 120, 3000, 11000)] == [1, 1, 2, 50, 50]


def test_resolve_takes_functions(task: hd.Task) -> None:
    assert hd.restore(task, preset=lambda t: replace(presets.quick(t), steps=1)).fits[0].steps == 1
