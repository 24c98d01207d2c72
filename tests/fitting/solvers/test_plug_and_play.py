from collections.abc import Callable

import pytest
import skimage.data
import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.solvers.plug_and_play import EXACT_LAST, LAMBDA, NOISELESS, PlugAndPlay, last_level, noise_level
from hybrid_dip.images import metrics
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.recipes.without_fit import plug_and_play
from hybrid_dip.regularisers.denoisers import nlm
from hybrid_dip.restoring.restore import restore


def a_mask() -> Tensor:
    return (torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()


MAKERS = {
    "denoise": lambda y: tasks.denoise(y, sigma=0.1),
    "missing-pixels": lambda y: tasks.missing_pixels(y, a_mask()),
    "super-resolve": lambda y: tasks.super_resolve(y[..., :8, :8], factor=2),
    "deblur": lambda y: tasks.deblur(y, torch.ones(3, 3)),
    "offset": lambda y: tasks.linear(y, lambda x: 2 * x + 1),
}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_data_step_solves_its_normal_equations(name: str) -> None:
    """Against the matrix of A, column by column; an offset of A is no part of it."""
    y = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    made: Task = MAKERS[name](y)
    task = Task(
        made.observation.double(),
        made.shape,
        made.forward,
        made.fidelity,
        None if made.weight is None else made.weight.double(),
    )
    if isinstance(task.forward, torch.nn.Module):
        task.forward.double()
    v = torch.rand(task.shape, dtype=torch.float64)
    offset = task.forward(torch.zeros_like(v))
    basis = torch.eye(v.numel(), dtype=torch.float64).view(-1, *task.shape[1:])
    matrix = torch.stack([(task.forward(e[None]) - offset).flatten() for e in basis], 1)
    weight = torch.ones(matrix.shape[0], dtype=torch.float64) if task.weight is None else task.weight.expand_as(y).flatten()
    left = matrix.T @ (weight[:, None] * matrix) + 0.3 * torch.eye(v.numel(), dtype=torch.float64)
    right = matrix.T @ (weight * (task.observation - offset).flatten()) + 0.3 * v.flatten()
    torch.testing.assert_close(
        nearest_explanation(v, task, 0.3).flatten(), torch.linalg.solve(left, right), atol=1e-3, rtol=1e-3
    )


def test_rounds_fall_to_the_noise_and_the_denoiser_comes_last() -> None:
    """D(x) = x / 2 and A = 1: x <- (y + w x) / (1 + w) / 2, w = LAMBDA (sigma_n / sigma_k)^2; sigma_k from 0.4 to sigma_n."""
    levels = []

    def half(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return x / 2

    y, x = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    found = PlugAndPlay(half, first=0.4, rounds=3)(x, tasks.denoise(y, sigma=0.1))
    assert levels == pytest.approx([0.4, 0.2, 0.1])
    for level in levels:
        weight = LAMBDA * (0.1 / level) ** 2
        x = (y + weight * x) / (1 + weight) / 2
    torch.testing.assert_close(found, x)


def test_what_was_measured_without_noise_stays() -> None:
    y = torch.rand(1, 3, 16, 16)
    task = tasks.missing_pixels(y, a_mask())
    found = PlugAndPlay(lambda x, sigma: 0 * x, first=0.1, last=0.1, rounds=1)(torch.rand_like(y), task)
    known = a_mask().expand_as(y) > 0
    torch.testing.assert_close(found[known], y[known] / (1 + LAMBDA * (NOISELESS / 0.1) ** 2))
    assert float(found[~known].abs().max()) < 1e-6


SIGMA = 0.1
ENDS: dict[str, tuple[Callable[[Tensor], Task], float]] = {
    "denoise": (lambda y: tasks.denoise(y, sigma=SIGMA), SIGMA),
    "blur": (lambda y: tasks.deblur(y, torch.ones(3, 3), sigma=SIGMA), SIGMA),
    "blur, held out": (lambda y: tasks.deblur(y, torch.ones(3, 3), sigma=SIGMA).split(0.1)[0], SIGMA),
    "enlarge": (lambda y: tasks.super_resolve(y, factor=2, sigma=SIGMA), SIGMA),
    "fill in": (lambda y: tasks.missing_pixels(y, a_mask(), sigma=SIGMA), SIGMA / 2),
    "noisy, held out": (lambda y: tasks.denoise(y, sigma=SIGMA).split(0.1)[0], SIGMA / 2),
    "mosaic": (lambda y: tasks.demosaic(y, sigma=SIGMA), SIGMA / 2),
    "own": (lambda y: tasks.linear(y, lambda x: x.flip(-1), sigma=SIGMA), SIGMA),
    "hardly any noise": (lambda y: tasks.denoise(y, sigma=1e-4), LEAST_SIGMA),
    "no noise": (lambda y: tasks.missing_pixels(y, a_mask()), EXACT_LAST),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_level_it_ends_at(name: str) -> None:
    make, expected = ENDS[name]
    task = make(torch.rand(1, 3, 16, 16))
    assert last_level(task, noise_level(task, nlm)) == pytest.approx(expected)


def test_noise_above_the_first_level_raises_it() -> None:
    levels: list[float] = []
    PlugAndPlay(lambda x, sigma: levels.append(sigma) or x, first=0.1, rounds=2)(  # type: ignore[func-returns-value]
        torch.rand(1, 3, 16, 16), tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.3)
    )
    assert levels == pytest.approx([0.3, 0.3])


def test_a_blurred_noisy_photograph_begins_and_ends_without_the_noise() -> None:
    """The first image is a regularised inverse, the last one a denoised image: both beat the observation, the last by far."""
    photograph = torch.from_numpy(skimage.data.coffee()[100:148, 200:248]).permute(2, 0, 1)[None].float() / 255
    line = torch.exp(-((torch.arange(13) - 6.0) ** 2) / (2 * 1.5**2))
    case = degradations.blurred(photograph, line[:, None] * line, sigma=10 / 255)
    seen: list[Tensor] = []

    def nlm_seen(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return nlm(x, sigma)

    found = restore(case.task, preset=lambda task: plug_and_play(task, nlm_seen), device="cpu")
    error = (seen[0] - photograph).square().mean().sqrt()
    assert 255 * float(error) < 40  # it was 65 with an inverse that was hardly regularised
    assert len(seen) == 8
    assert metrics.psnr(found.image, photograph) > metrics.psnr(case.task.observation, photograph) + 1


@pytest.mark.parametrize(("first", "last", "rounds"), [(0.1, 0.2, 3), (2.0, 0.1, 3), (0.1, 0.0, 3), (0.1, 0.1, 0)])
def test_levels_out_of_range(first: float, last: float, rounds: int) -> None:
    with pytest.raises(SettingsError, match="last <= first"):
        PlugAndPlay(first=first, last=last, rounds=rounds)
