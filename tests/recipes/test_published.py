"""Presets of methods that are more than a loss."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Case
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.solvers import ADMM, Averaging
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes import published
from hybrid_dip.recipes.presets import quick
from hybrid_dip.recipes.recipe import Recipe


def shrinking(x: Tensor, sigma: float) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, 3, 1, 1)


def small(task: hd.Task) -> Recipe:
    recipe = quick(task)
    return hd.Recipe(
        lambda i, o: hd.networks.skip(i, o, down=(16, 16), skip=(4, 4), upsample="bilinear"),
        recipe.latent,
        steps=40,
        lr=recipe.lr,
    )


CASES: dict[str, Any] = {
    "denoise": lambda x: degradations.noisy(x, sigma=0.1),
    "missing-pixels": lambda x: degradations.scattered(x, share=0.5),
    "super-resolve": lambda x: degradations.downsampled(x, factor=2),
}


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize("name", ["deepred", "self_guided", "aseqdip"])
def test_the_preset_restores(name: str, task: str, photograph: Tensor) -> None:
    """The image comes nearer to the clean one with the steps, in each task."""
    case: Case = CASES[task](photograph)
    options = {"denoiser": shrinking} if name == "deepred" else {}

    def error(steps: int) -> float:
        recipe = getattr(published, name)(case.task, preset=small, **options)
        return float((hd.restore(case.task, preset=recipe, steps=steps).image - case.reference).square().mean())

    assert error(40) < 0.7 * error(2)


def test_dip_sure_stops_by_its_own_rule_and_term(photograph: Tensor) -> None:
    case = degradations.noisy(photograph, sigma=0.2)
    found = hd.restore(case.task, preset=published.dip_sure(case.task, preset=small), steps=400)
    (fit,) = found.fits
    assert fit.reason == "zero crossing (heuristic)"
    crossing = [row["fidelity"] + row["divergence"] - 0.2**2 for row in fit.history]
    assert all(value > 0 for row, value in zip(fit.history, crossing, strict=True) if row["step"] < fit.kept_at)


def test_deepred_is_the_published_recipe(photograph: Tensor) -> None:
    recipe = published.deepred(degradations.noisy(photograph, sigma=25 / 255).task, denoiser=shrinking)
    assert recipe.lr == 0.008
    assert isinstance(recipe.solver, ADMM)
    assert (recipe.solver.mu, recipe.solver.every, recipe.solver.growth) == (0.5, 1, 0.03)
    # 20 dB between f and y at sigma 25
    assert recipe.solver.threshold * (25 / 255) ** 2 == pytest.approx(10 ** (-20 / 10))
    assert published.deepred(degradations.downsampled(photograph, factor=2).task).solver.growth == 0  # type: ignore[union-attr]


def test_sgld_is_the_published_recipe(photograph: Tensor) -> None:
    recipe = published.sgld(degradations.noisy(photograph, sigma=25 / 255).task)
    assert recipe.steps == 20000
    assert recipe.solver == Averaging(7000 / 20000, 50)


def test_a_led_fit_s_input_is_what_the_observation_shows(photograph: Tensor) -> None:
    noisy = degradations.noisy(photograph, sigma=0.1).task
    assert torch.allclose(published.aseqdip(noisy, preset=small).latent(size=(32, 32)), noisy.observation, atol=1e-6)
    case = degradations.scattered(photograph, share=0.5)
    z = published.aseqdip(case.task, preset=small).latent(size=(32, 32))
    known = (case.task.weight > 0).expand_as(z)  # type: ignore[operator]
    assert torch.allclose(z[known], case.reference[known], atol=1e-5)
    assert hd.metrics.psnr(z, case.reference) > hd.metrics.psnr(case.task.observation, case.reference) + 8
    smaller = degradations.downsampled(photograph, factor=2, kernel="box")
    z = published.aseqdip(smaller.task, preset=small).latent(size=(32, 32))
    nearest = torch.nn.functional.interpolate(smaller.task.observation, scale_factor=2)
    assert torch.allclose(z, nearest, atol=1e-4)


def test_a_large_hole_is_filled_from_its_surroundings(photograph: Tensor) -> None:
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 4:28, 4:28] = 0
    bright = 0.5 + photograph / 2
    z = published.aseqdip(tasks.inpaint(bright * mask, mask), preset=small).latent(size=(32, 32))
    assert float(z.min()) >= 0.5 - 1e-5


def test_held_out_entries_do_not_lead_the_fit(photograph: Tensor) -> None:
    """The input is made anew of what is left."""
    task = degradations.noisy(photograph, sigma=0.1).task
    inputs = []
    for poison in (0.0, 1e6):
        (replicate,) = hd.selection.HeldOut().replicates(task)
        held = replicate.task.weight == 0  # type: ignore[union-attr]
        poisoned = replace(task, observation=torch.where(held, poison, task.observation))
        (again,) = hd.selection.HeldOut().replicates(poisoned)
        inputs.append(published.aseqdip(poisoned, preset=small).bind(again.task).latent(size=(32, 32)))
    assert torch.equal(*inputs)


def test_other_tasks_are_refused(photograph: Tensor) -> None:
    flash = tasks.flash(photograph, photograph)
    for preset in (published.aseqdip, published.self_guided):
        with pytest.raises(SettingsError, match="makes its own latent"):
            preset(flash)
    with pytest.raises(SettingsError, match="for denoising"):
        published.dip_sure(tasks.jpeg(photograph))
