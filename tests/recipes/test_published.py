"""Presets of methods that are more than a loss."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Case
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.solvers import Averaging, DeepRED, ExtendedSURE
from hybrid_dip.fitting.solvers.deepred import Growth
from hybrid_dip.problem import degradations, fidelity, tasks
from hybrid_dip.recipes import published
from hybrid_dip.recipes.presets import quick
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import denoisers
from hybrid_dip.regularisers.terms import Moment


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


@pytest.mark.parametrize(
    ("name", "task"),
    [*((name, task) for name in ("self_guided", "aseqdip") for task in CASES), ("deepred", "missing-pixels")],
)
def test_the_preset_restores(name: str, task: str, photograph: Tensor) -> None:
    """The image comes nearer to the clean one with the steps, in each task."""
    case: Case = CASES[task](photograph)
    options = {"denoiser": shrinking} if name == "deepred" else {}

    def error(steps: int) -> float:
        recipe = getattr(published, name)(case.task, preset=small, **options)
        return float((hd.restore(case.task, preset=recipe, steps=steps).image - case.reference).square().mean())

    assert error(40) < 0.7 * error(2)


def test_plain_dip_sure_stops_by_its_own_rule_and_term(photograph: Tensor) -> None:
    case = degradations.noisy(photograph, sigma=0.2)
    found = hd.restore(case.task, preset=published.dip_sure_plain(case.task, preset=small), steps=400)
    (fit,) = found.fits
    assert fit.reason == "zero crossing (heuristic)"
    crossing = [row["fidelity"] + row["divergence"] - 0.2**2 for row in fit.history]
    assert all(value > 0 for row, value in zip(fit.history, crossing, strict=True) if row["step"] < fit.kept_at)


def test_dip_sure_is_that_of_the_authors_runs(photograph: Tensor) -> None:
    """Extended SURE, their network on y itself, RAdam at 0.1 times 0.9 every 300 steps, the average of the outputs."""
    task = degradations.noisy(photograph, sigma=25 / 255).task
    recipe = published.dip_sure(task)
    assert (recipe.network, recipe.optimizer, recipe.solver) == (hd.networks.s2s, optimizers.radam, ExtendedSURE(0.5))
    assert (recipe.steps, recipe.lr, recipe.average, recipe.fallback, recipe.rule) == (
        3000,
        0.1,
        0.99,
        5.0,
        hd.stopping.ZeroCrossing(),
    )
    rate: Any = recipe.lr_schedule
    assert [rate(Moment(step, 3000, torch.ones(()), 0)) for step in (299, 300, 2999)] == [1, 0.9, 0.9**9]
    assert torch.equal(recipe.latent(size=(32, 32)), task.observation)
    assert published.dip_sure(tasks.denoise(photograph[:, :1], sigma=0.1)).solver == ExtendedSURE(0.3)
    counted = published.dip_sure(task, zeta=0.1)
    assert (counted.solver, counted.average, counted.terms[0].name) == (None, 0.9, "divergence")
    narrow = replace(recipe, network=partial(hd.networks.s2s, down=8, up=8))
    (fit,) = hd.restore(task, preset=narrow, steps=2).fits
    assert fit.history[-1]["divergence"] > 0


def test_deepred_is_that_of_the_authors_code(photograph: Tensor) -> None:
    """Steps, rate, jitter, sigma of the denoiser, beta, mu of their notebooks; 20 dB and 0.01 dB where they denoise."""
    noisy = degradations.noisy(photograph, sigma=25 / 255).task
    small = degradations.downsampled(photograph, factor=4).task
    blurred = degradations.blurred(photograph, psf=hd.operators.gaussian_psf(1)).task
    table = {
        "denoise": (noisy, 6000, 0.008, 0.033, 3 / 255, 0.5, 0.5, False),
        "super-resolve": (small, 2000, 0.001, 0.02, 5 / 255, 0.05, 0.06, True),
        "deblur": (blurred, 30000, 0.004, 0.01, 3 / 255, 0.02, 0.04, True),
    }
    for name, (task, *numbers) in table.items():
        recipe = published.deepred(task)
        solver = recipe.solver
        assert isinstance(solver, DeepRED)
        found = [recipe.steps, recipe.lr, recipe.jitter, solver.sigma, solver.beta, solver.mu, solver.by_dual]
        assert found == numbers, name
        assert (solver.denoiser, solver.every) == (denoisers.nlm_channels, 10)
        assert (recipe.average, recipe.fallback, recipe.latent_first) == (0.99 if name == "denoise" else None, None, False)
        described = recipe.describe()
        assert described["network"]["down"] == (128,) * 5
        assert "0x" not in described["solver"], "it would differ from one process to the next, and --resume refuse"
    growing = published.deepred(noisy).solver
    assert isinstance(growing, DeepRED)
    assert growing.growth == Growth(0.03, pytest.approx(20), 0.01)  # type: ignore[arg-type]
    assert published.deepred(small).solver.growth is None  # type: ignore[union-attr]
    rate = published.deepred(blurred).lr_schedule
    assert [rate(Moment(step, 30000, torch.ones(()), 0)) for step in (999, 1000, 29999)] == [1, 0.9, 0.9**29]  # type: ignore[misc]
    assert "BM3D" in published.deepred(small).note
    assert published.deepred(noisy).note == published.deepred(small, denoiser=denoisers.bm3d).note == ""
    assert "no recipe for 'jpeg'" in published.deepred(tasks.jpeg(photograph)).note
    assert "no recipe for this noise" in published.deepred(tasks.denoise(photograph, fidelity=fidelity.poisson)).note


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
    with pytest.raises(SettingsError, match="for denoising"):
        published.dip_sure_plain(tasks.jpeg(photograph))
