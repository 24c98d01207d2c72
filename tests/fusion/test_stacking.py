"""Fusion of images, by data that no fit has seen."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.fusion.arms import Arm
from hybrid_dip.fusion.stacking import OTHER_SEED, combine_arms, contributions, default_selection, stack
from hybrid_dip.fusion.weights import Combination
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import GuidePixels
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.hooks import FitHooks, no_hooks
from hybrid_dip.stopping.selection import Bootstrap, HeldOut
from tests.fits import halt_after
from tests.recipes.test_published import small


def short(task: Task) -> Recipe:
    return replace(small(task), steps=25, runs=1)


@pytest.fixture
def noisy(photograph: Tensor) -> Task:
    return degradations.noisy(photograph, sigma=0.15).task


def test_bootstrap_judges_full_observations_and_held_out_pixels_others(photograph: Tensor) -> None:
    assert isinstance(default_selection(degradations.noisy(photograph, sigma=0.1).task), Bootstrap)
    assert isinstance(default_selection(degradations.scattered(photograph, share=0.5, sigma=0.1).task), HeldOut)
    assert isinstance(default_selection(tasks.denoise(photograph, fidelity=hd.fidelity.poisson)), HeldOut)


def test_an_estimated_level_is_enough_only_where_neighbours_are_alike(noisy: Task) -> None:
    assert isinstance(default_selection(noisy, estimated=True), HeldOut)
    assert isinstance(default_selection(replace(noisy, correlation=(0.6, 0.3)), estimated=True), Bootstrap)


def test_a_stack_gives_weight_to_the_better_arm(noisy: Task, photograph: Tensor) -> None:
    """A guide that is right against one that is wrong."""
    arms = [
        Arm("right", short, (Term(GuidePixels(photograph), 5.0),)),
        Arm("wrong", short, (Term(GuidePixels(1 - photograph), 5.0),)),
    ]
    found = stack(noisy, arms)
    assert found.weights["right"] > 0.9
    assert set(found.arms) == {"right", "wrong"}
    best = hd.metrics.psnr(found.arms["right"].image, photograph)
    assert hd.metrics.psnr(found.image, photograph) > best - 0.1


@pytest.mark.parametrize("selection", [HeldOut(), Bootstrap()])
def test_weights_of_the_replicates_combine_images_of_all_data(selection: HeldOut | Bootstrap, noisy: Task) -> None:
    arms = [Arm("dip", short), Arm("smooth", short, (Term(hd.TV(), 0.3),))]
    found = stack(noisy, arms, selection=selection, local=False)
    (replicate,) = selection.replicates(noisy)
    residuals, judged = [], {}
    for arm in arms:
        other = {"seed": OTHER_SEED, "regularisers": arm.terms}
        judged[arm.name] = hd.restore(replicate.task, preset=short(replicate.task), **other).raw
        residuals.append(replicate.judge.residual(judged[arm.name]).flatten().double())
    a, b = residuals
    share = float(((b - a) @ b) / (b - a).square().sum())
    assert found.weights["dip"] == pytest.approx(min(1.0, max(0.0, share)), abs=1e-4)
    mixed = sum(w * (found.arms[name].raw + judged[name]) / 2 for name, w in found.weights.items())
    assert torch.allclose(found.raw, mixed, atol=1e-5), "half of what an arm brings is what it made of the replicate"


def test_an_arm_is_the_mean_of_its_fits(noisy: Task, photograph: Tensor) -> None:
    denoised = hd.restore(noisy, preset="one-shot:denoiser=median")
    fitted = hd.restore(noisy, preset=short(noisy))
    other, another = torch.zeros_like(fitted.raw), torch.ones_like(fitted.raw)
    judged = [[other, other], [another, another]]
    images = contributions(noisy, Bootstrap(draws=2).replicates(noisy), [denoised, fitted], judged)
    assert torch.equal(images[0], denoised.raw), "without a fit there is nothing to average"
    assert torch.allclose(images[1], fitted.raw / 2 + 0.25)
    images = contributions(noisy, HeldOut(folds=2).replicates(noisy), [denoised, fitted], judged)
    assert torch.allclose(images[1], fitted.raw / 2 + 0.25)
    exact = degradations.scattered(photograph, share=0.5).task
    images = contributions(exact, HeldOut(folds=2).replicates(exact), [denoised, fitted], judged)
    assert torch.equal(images[1], fitted.raw)


@pytest.mark.parametrize("local", [False, True])
def test_what_an_operator_averages_away_is_weighed_evenly(local: bool) -> None:
    """Against the null space from the operator's matrix."""
    torch.manual_seed(0)
    y, images = torch.rand(1, 1, 4, 4), [torch.rand(1, 1, 16, 16) for _ in range(3)]
    task = tasks.super_resolve(y, factor=4)
    weights = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64)
    maps = torch.rand(3, 16, 16).softmax(0) if local else None
    combination = Combination(weights, maps, (0.0, 0.0, 0.0), 0.0)
    matrix = torch.stack([task.forward(one.view(1, 1, 16, 16)).flatten() for one in torch.eye(256)], 1).double()
    seen = torch.linalg.pinv(matrix) @ matrix
    raw, mean = combination(images).flatten().double(), torch.cat(images).mean(0).flatten().double()
    expected = seen @ raw + mean - seen @ mean
    found = combine_arms(task, combination, images)
    assert torch.allclose(found.flatten().double(), expected, atol=1e-3)
    assert (found - combination(images)).abs().max() > 0.05


def test_where_pixels_are_missing_or_noisy_the_data_weigh_all(noisy: Task, photograph: Tensor) -> None:
    combination = Combination(torch.tensor([0.7, 0.3], dtype=torch.float64), None, (0.0, 0.0), 0.0)
    images = [torch.rand_like(photograph) for _ in range(2)]
    for task in (noisy, degradations.scattered(photograph, share=0.5).task):
        assert torch.equal(combine_arms(task, combination, images), combination(images))


def test_no_fit_of_a_replicate_sees_its_judge(photograph: Tensor) -> None:
    """Poison in the held-out entries changes what judges, and nothing that is judged."""
    task = degradations.scattered(photograph, share=0.6, sigma=0.05).task
    seen: list[list[Tensor]] = []

    def recording(task: Task) -> Recipe:
        seen[-1].append(task.observation)
        return short(task)

    images = []
    for poison in (None, 1e6):
        seen.append([])
        (replicate,) = HeldOut().replicates(task)
        held = replicate.task.weight == 0  # type: ignore[union-attr]
        unseen = held & (task.weight.expand_as(task.observation) > 0)  # type: ignore[union-attr]
        poisoned = task if poison is None else replace(task, observation=torch.where(unseen, poison, task.observation))
        (again,) = HeldOut().replicates(poisoned)
        images.append([arm.run(again.task, "", seed=0, device="cpu", hooks=no_hooks).raw for arm in
                       (Arm("dip", recording), Arm("tv", recording, (Term(hd.TV(), 0.1),)))])  # fmt: skip
        assert not torch.equal(again.judge.observation, task.observation)
    assert all(torch.equal(a, b) for a, b in zip(*images, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_a_stack_needs_two_arms_of_different_names(noisy: Task) -> None:
    for arms in ([Arm("dip", short)], [Arm("dip", short), Arm("dip", "quick")]):
        with pytest.raises(SettingsError, match="at least two arms of different names"):
            stack(noisy, arms)


def test_each_fit_of_a_stack_has_its_own_time(noisy: Task) -> None:
    found = stack(noisy, [Arm("dip", short), Arm("smooth", short, (Term(hd.TV(), 0.3),))], time_budget=1e-6)
    assert [result.fits[0].reason for result in found.arms.values()] == ["time budget", "time budget"]
    assert found.steps == 4, "one step of each arm, for the task and for the replicate"


def test_an_interrupted_stack_says_where(noisy: Task) -> None:
    halt = halt_after(30)
    with pytest.raises(Interrupted, match="Interrupted in tv, bootstrap 1"):
        stack(noisy, [Arm("dip", short), Arm("tv", short, (Term(hd.TV(), 0.1),))], hooks=lambda name: FitHooks(halt=halt))
