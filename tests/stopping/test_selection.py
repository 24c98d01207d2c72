"""The number of steps from data that a fit does not see."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, unfold

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.contracts import Case, Fit, Observer, Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.networks import latents
from hybrid_dip.problem import degradations, operators, tasks
from hybrid_dip.regularisers.noise_draw import noise_like
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Replicate, check, select
from tests.fits import halt_after

SIGMA = 0.2


def lean(in_channels: int, out_channels: int) -> nn.Module:
    return networks.skip(in_channels, out_channels, down=(16, 16), skip=(4, 4), upsample="bilinear", padding="reflection")


def latent(size: tuple[int, int]) -> Tensor:
    return latents.uniform(8, size)


RECIPE = hd.Recipe(lean, latent, steps=40, jitter=0.03, average=0.9)


@pytest.fixture
def noisy(photograph: Tensor) -> Case:
    return degradations.noisy(photograph, sigma=SIGMA)


@pytest.mark.parametrize("tau", [0.3, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_bootstrap_risk_is_unbiased_whatever_the_algorithm(tau: float, masked: bool) -> None:
    """Over 1,000 draws of noise and eta, for an estimator with jumps that has no derivative."""
    truth = torch.rand(1, 1, 16, 16)
    mask = (torch.rand(1, 1, 16, 16) < 0.6).float() if masked else torch.ones(1, 1, 16, 16)
    errors = []
    for draw in range(1000):
        y = mask * (truth + SIGMA * torch.randn(truth.shape))
        task = tasks.inpaint(y, mask, sigma=SIGMA) if masked else tasks.denoise(y, sigma=SIGMA)
        (replicate,) = Bootstrap(tau=tau, seed=draw).replicates(task)
        estimate = (replicate.task.observation * 8).round() / 8
        risk = ((estimate - truth).square() * mask).sum() / mask.sum()
        errors.append(float(replicate.score(estimate) - risk))
    mean = sum(errors) / len(errors)
    deviation = math.sqrt(sum((error - mean) ** 2 for error in errors) / (len(errors) - 1))
    assert abs(mean) < 3 * deviation / math.sqrt(len(errors))
    assert deviation / math.sqrt(len(errors)) < 0.1 * SIGMA**2 / tau**2  # so the test could have failed


def test_bootstrap_risk_of_coarse_noise_is_unbiased() -> None:
    """For a blur and an estimator without a derivative; taken for white, noise that is alike between neighbours misleads it."""
    truth = torch.rand(1, 1, 32, 32)
    task = replace(tasks.denoise(truth, sigma=SIGMA), correlation=(0.6, 0.3))
    draw = noise_like(task)
    errors = torch.zeros(300, 2, 2)
    for seed in range(len(errors)):
        y = truth + draw(np.random.default_rng(10_000 + seed))
        for kind, alike in enumerate((task.correlation, ())):
            (replicate,) = Bootstrap(seed=seed).replicates(replace(task, observation=y, correlation=alike))
            fitted = replicate.task.observation
            for number, estimate in enumerate((avg_pool2d(fitted, 3, 1, 1), (fitted * 8).round() / 8)):
                errors[seed, kind, number] = replicate.score(estimate) - (estimate - truth).square().mean()
    coarse, white = errors.mean(0).abs()
    doubt = errors.std(0) / math.sqrt(len(errors))
    assert bool((coarse < 3 * doubt[0]).all())
    assert float(white[0]) > 20 * float(doubt[0, 0])


def checks(low: float, high: float, side: int = 4) -> Tensor:
    """Squares of four pixels: a window of seven pixels has both values."""
    row = torch.arange(32) // side
    return torch.where((row + row[:, None]) % 2 == 0, low, high)[None, None]


CLEAN: dict[str, Any] = {
    "black": (0.0, 0.0),
    "bright": (0.95, 0.97),
    "black and white": (0.0, 1.0),
    "grey": (0.4, 0.6),
    "blown out": (0.2, 1.6, 16),
}
"""Two values of a board, and the side of its squares. What is beyond white is white, with little noise or none."""


@pytest.mark.parametrize("name", CLEAN)
def test_bootstrap_risk_of_clipped_noise_is_unbiased(name: str) -> None:
    """For a mean, a median, and an estimator without a derivative, of files of 8 bits."""
    sigma, draws = 25 / 255, 60
    truth = checks(*CLEAN[name])
    errors = torch.zeros(draws, 3)
    for draw in range(draws):
        y = degradations.noisy(truth, sigma=sigma, clip=True, seed=draw).task.observation
        (replicate,) = Bootstrap(seed=draw).replicates(tasks.denoise((255 * y).round() / 255, sigma=sigma))
        patches = unfold(pad(replicate.task.observation, (1, 1, 1, 1), mode="reflect"), 3)
        for number, values in enumerate((patches.mean(1), patches.median(1).values, (patches[:, 4] * 8).round() / 8)):
            estimate = values.view(truth.shape)
            errors[draw, number] = replicate.score(estimate) - (estimate - truth.clamp(0, 1)).square().mean()
    doubt = errors.std(0) / math.sqrt(draws)
    assert bool((errors.mean(0).abs() < 3 * doubt + 0.02 * sigma**2).all())
    assert float(doubt.max()) < 0.07 * sigma**2


def test_bootstrap_of_clipped_noise_fits_clipped_noise() -> None:
    """What is fitted is as y is, only noisier: half of its entries on black are 0."""
    task = degradations.noisy(torch.zeros(1, 1, 64, 64), sigma=SIGMA, clip=True).task
    (replicate,) = Bootstrap(tau=0.75).replicates(task)
    fitted = replicate.task.observation
    assert float(fitted.min()) == 0
    assert float((fitted == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(fitted.square().mean()) == pytest.approx((1.25 * SIGMA) ** 2 / 2, rel=0.06)


def test_bootstrap_fits_noise_of_the_level_that_it_says(noisy: Case) -> None:
    (replicate,) = Bootstrap(tau=0.75).replicates(noisy.task)
    found = float((replicate.task.observation - noisy.reference).std())
    assert found == pytest.approx(SIGMA * 1.25, rel=0.05)
    assert replicate.task.noise_sigma == pytest.approx(SIGMA * 1.25)


def test_bootstrap_leaves_unmeasured_entries_alone(photograph: Tensor) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., ::2] = 1
    task = tasks.inpaint(photograph * mask, mask, sigma=SIGMA)
    (replicate,) = Bootstrap().replicates(task)
    assert bool(((replicate.task.observation * (1 - mask)) == (task.observation * (1 - mask))).all())


def test_projected_bootstrap_tells_apart_only_what_the_operator_sees() -> None:
    """Downsampling by a box: what has zero mean in each block lies in the null space, and costs nothing."""
    truth = torch.rand(1, 1, 32, 32)
    forward = operators.Downsample(2, "box")
    y = forward(truth) + 0.05 * torch.randn(1, 1, 16, 16)
    task = Task(y, (1, 1, 32, 32), forward, hd.fidelity.gaussian, noise_sigma=0.05)
    (replicate,) = Bootstrap(projected=True).replicates(task)
    checks = torch.ones(1, 1, 32, 32)
    checks[..., ::2] = -1
    base = replicate.score(truth)
    assert float((replicate.score(truth + checks) - base).abs()) < 1e-4
    assert float(replicate.score(truth + 0.5) - base) == pytest.approx(0.25, rel=0.2)


def test_projected_bootstrap_of_the_identity_is_the_plain_one(noisy: Case) -> None:
    (plain,), (projected,) = (Bootstrap(projected=p).replicates(noisy.task) for p in (False, True))
    x = torch.rand(noisy.task.shape)
    noise = SIGMA**2 * (1 + 1 / 0.25)
    assert float(projected.score(x)) == pytest.approx(float(plain.score(x)) + noise, rel=1e-3)


@pytest.mark.parametrize(("selection", "count"), [(HeldOut(), 1), (HeldOut(folds=3), 3), (Bootstrap(draws=2), 2)])
def test_replicates_and_fits(selection: HeldOut | Bootstrap, count: int, noisy: Case) -> None:
    assert len(selection.replicates(noisy.task)) == count
    assert selection.fits == count + 1


class Scripted:
    """A selection whose scores are given: the mean image of the step is the step."""

    reason, patience, refit = "scripted", 100, True

    def __init__(self, curves: Sequence[Sequence[float]]):
        self.curves = curves

    @property
    def fits(self) -> int:
        return len(self.curves) + 1

    def replicates(self, task: Task) -> list[Replicate]:
        def scoring(curve: Sequence[float]) -> Replicate:
            values = iter([value for value in curve for _ in range(2)])  # the rule and the observer both ask
            return Replicate(task, task, lambda x: torch.tensor(next(values)))

        return [scoring(curve) for curve in self.curves]


def test_select_takes_the_step_of_the_smallest_mean_score(noisy: Case) -> None:
    """The best steps of the two curves are 0 and 3; their mean is smallest at step 2."""
    selection = Scripted([[1.0, 2.0, 1.5, 4.0, 9.0], [9.0, 5.0, 1.5, 1.0, 2.0]])
    asked: list[tuple[str, Rule]] = []

    def once(task: Task, rule: Rule, name: str, observers: Sequence[Observer]) -> Fit:
        asked.append((name, rule))
        network, z = lean(8, 3), latent((32, 32))
        return hd.fit(network, z, task, rule=rule, max_steps=5, log_every=1, observers=observers)

    found = select(selection, noisy.task, once)
    assert [name for name, _ in asked] == ["scripted-1", "scripted-2", ""]
    assert found.kept_at == 2
    assert found.reason == "scripted"
    assert found.steps == 3
    assert "step 2 was best in the mean of 2 fits of 5 steps" in found.notes[0]


@pytest.mark.parametrize("selection", [HeldOut(patience=10), Bootstrap(patience=10)])
def test_the_refit_takes_all_data_and_the_selected_steps(selection: HeldOut | Bootstrap, noisy: Case) -> None:
    found = hd.restore(noisy.task, preset=RECIPE, rule=selection, seed=3)
    (fit,) = found.fits
    plain = hd.restore(noisy.task, preset=RECIPE, steps=fit.kept_at + 1, seed=3)
    assert torch.equal(found.raw, plain.raw)
    assert fit.reason == selection.reason


def test_without_refit_the_image_with_the_best_score_is_kept(noisy: Case) -> None:
    found = hd.restore(noisy.task, preset=RECIPE, rule=HeldOut(refit=False))
    (fit,) = found.fits
    fitted, validation = noisy.task.split(0.1)
    scores = []
    hooks = FitHooks(observers=[lambda step: scores.append(float(validation.score(step.candidate)))])
    hd.restore(fitted, preset=RECIPE, hooks=lambda name: hooks)
    assert fit.kept_at == scores.index(min(scores))


def test_held_out_entries_do_not_reach_the_replicate(noisy: Case) -> None:
    """Poison in them changes the score, and nothing of the fit; a latent made of the observation included."""
    seen: list[Tensor] = []

    def denoiser(y: Tensor, sigma: float) -> Tensor:
        seen.append(y)
        return y * 0.5

    found = []
    for poison in (None, 1e6):
        task = noisy.task
        (replicate,) = HeldOut().replicates(task)
        if poison is not None:
            held = replicate.task.weight == 0  # type: ignore[union-attr]
            task = replace(task, observation=torch.where(held, poison, task.observation))
            (replicate,) = HeldOut().replicates(task)
        found.append(hd.restore(replicate.task, preset=RECIPE, steps=5).raw)
    assert torch.equal(*found)
    guided = hd.Recipe(lean, Halved(noisy.task), steps=2)
    hd.restore(noisy.task, preset=guided, rule=HeldOut(), steps=2)
    assert any(bool((observation == 0).any()) for observation in Halved.seen)
    assert bool((Halved.seen[-1] == noisy.task.observation).all())


class Halved:
    """A latent that is made of the observation."""

    seen: list[Tensor] = []  # noqa: RUF012

    def __init__(self, task: Task):
        self.task = task

    def bind(self, task: Task) -> "Halved":
        return Halved(task)

    def __call__(self, size: tuple[int, int]) -> Tensor:
        self.seen.append(self.task.observation)
        return self.task.observation * 0.5


def test_an_interrupted_selection_goes_on_to_the_same_floats(noisy: Case, tmp_path: Path) -> None:
    whole = hd.restore(noisy.task, preset=RECIPE, rule=HeldOut())
    for stop_at in (25, 60, None):  # in the replicate, in the refit, and to the end
        halt = None if stop_at is None else halt_after(stop_at)

        def hooks(name: FitName) -> FitHooks:
            return FitHooks(checkpoint=Checkpoint(tmp_path / f"{name.file}.pt", 5), halt=halt)  # noqa: B023

        part = hd.restore(noisy.task, preset=RECIPE, rule=HeldOut(), hooks=hooks)
    assert torch.equal(part.raw, whole.raw)


def test_what_does_not_apply_is_said(photograph: Tensor) -> None:
    with pytest.raises(SettingsError, match="level of Gaussian noise"):
        check(Bootstrap(), tasks.jpeg(photograph))
    with pytest.raises(SettingsError, match="leaves nothing"):
        check(HeldOut(share=1e-5), tasks.jpeg(photograph))


@pytest.mark.parametrize(
    "make",
    [
        lambda: HeldOut(patience=0),
        lambda: HeldOut(folds=3, refit=False),
        lambda: Bootstrap(tau=0),
        lambda: Bootstrap(draws=0),
        lambda: Bootstrap(draws=2, refit=False),
    ],
)
def test_bad_options(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]
