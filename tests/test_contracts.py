import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.picture import Picture
from hybrid_dip.problem import operators, tasks
from hybrid_dip.restoring.hooks import FitHooks


def test_task_moves_its_operator_and_leaves_the_original_alone() -> None:
    task = tasks.super_resolve(torch.rand(1, 3, 8, 8), factor=4)
    moved = task.to("meta")
    assert moved.observation.device.type == "meta"
    assert isinstance(moved.forward, operators.Downsample)
    assert moved.forward.taps.device.type == "meta"
    assert isinstance(task.forward, operators.Downsample)
    assert task.forward.taps.device.type == "cpu"


def test_a_task_needs_sixteen_pixels_a_side() -> None:
    with pytest.raises(SettingsError, match="at least 16x16"):
        tasks.denoise(torch.rand(1, 3, 15, 40), sigma=0.1)


@pytest.mark.parametrize(
    ("share", "folds", "fold"), [(0.0, None, 0), (1.0, None, 0), (0.1, 1, 0), (0.1, 3, 3), (1e-9, None, 0)]
)
def test_a_split_that_leaves_nothing_is_refused(share: float, folds: int | None, fold: int) -> None:
    task = tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.1)
    with pytest.raises(SettingsError):
        task.split(share, folds, fold=fold)


def test_split_divides_the_measured_pixels() -> None:
    mask = (torch.rand(1, 1, 20, 20) < 0.5).float()
    task = tasks.missing_pixels(torch.rand(1, 3, 20, 20), mask)
    fitted, validation = task.split(0.25)
    assert float(fitted.measured + validation.held_out.sum()) == float(task.measured)
    assert float((fitted.weight * validation.held_out).sum()) == 0  # type: ignore[operator]
    held = float(validation.held_out.sum() / task.measured)
    assert held == pytest.approx(0.25, abs=0.01)
    # whole pixels are held out: all channels or none
    assert bool((validation.held_out == validation.held_out[:, :1]).all())


def test_folds_are_disjoint_and_complete() -> None:
    task = tasks.denoise(torch.rand(1, 1, 16, 16), sigma=0.1)
    held = [task.split(folds=4, fold=fold)[1].held_out for fold in range(4)]
    assert torch.equal(torch.stack(held).sum(0), torch.ones_like(held[0]))


def test_the_split_leaves_the_caller_s_random_state_alone() -> None:
    task = tasks.denoise(torch.rand(1, 1, 16, 16), sigma=0.1)
    before = torch.get_rng_state()
    first, again, other = (task.split(0.1, seed=seed)[1].held_out for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_validation_scores_held_out_entries_by_their_mean() -> None:
    observation = torch.zeros(1, 1, 16, 16)
    task = tasks.denoise(observation, sigma=0.1)
    _, validation = task.split(0.25)
    assert float(validation.score(torch.full_like(observation, 0.5))) == pytest.approx(0.25)
    # what was not held out does not matter
    elsewhere = torch.where(validation.held_out > 0, 0.5, 99.0)
    assert float(validation.score(elsewhere)) == pytest.approx(0.25)


def test_a_residual_is_zero_where_nothing_was_measured() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    task = tasks.inpaint(torch.zeros(1, 3, 16, 16), mask)
    residual = task.residual(torch.ones(1, 3, 16, 16))
    assert torch.equal(residual, mask.expand(1, 3, 16, 16))
    assert float(task.measured) == 3 * 16 * 8


def test_finish_pastes_known_pixels_of_its_own_task() -> None:
    y = torch.rand(1, 3, 16, 16)
    mask = (torch.rand(1, 1, 16, 16) < 0.5).float()
    task: Task = tasks.inpaint(y, mask)
    x = torch.full_like(y, 2.0)
    finished = task.finish(x)
    assert torch.equal(finished, torch.where(mask > 0, y, 1.0))
    fitted, validation = task.split(0.5)
    assert torch.equal(fitted.finish(x)[validation.held_out > 0], torch.ones(int(validation.held_out.sum())))


def test_what_holds_images_is_written_in_one_line(photograph: Tensor) -> None:
    task = hd.tasks.denoise(photograph, sigma=0.1)
    steps: list[hd.Step] = []
    hooks = FitHooks([steps.append])
    result = hd.restore(task, preset="quick", steps=2, runs=2, regularisers=0.1 * hd.TV(), device="cpu", hooks=lambda _: hooks)
    case = hd.Case(task, photograph, "astronaut " * 100)
    for record in (task, *task.split(), result, result.fits[0], steps[0], case, Picture(photograph)):
        line = repr(record)
        assert len(line.splitlines()) == 1
        assert len(line) < 700
    assert repr(result).startswith("Result(image=tensor(1, 3, 32, 32), raw=tensor(1, 3, 32, 32),")
    assert "fits=<2 entries>, seeds=(0, 1), recipe=Recipe, terms=<1 entries>" in repr(result)
