import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.solvers.plug_and_play import LAMBDA, NOISELESS, PlugAndPlay
from hybrid_dip.problem import tasks
from hybrid_dip.problem.least_squares import nearest_explanation


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


def test_rounds_fall_by_a_constant_factor_and_weigh_the_noise() -> None:
    """D(x) = x / 2 and A = 1: x <- (y + w x / 2) / (1 + w), w = LAMBDA (sigma_n / sigma_k)^2."""
    levels = []

    def half(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return x / 2

    y, x = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    found = PlugAndPlay(half, first=0.4, last=0.1, rounds=3)(x, tasks.denoise(y, sigma=0.2))
    assert levels == pytest.approx([0.4, 0.2, 0.1])
    for level in levels:
        weight = LAMBDA * (0.2 / level) ** 2
        x = (y + weight * x / 2) / (1 + weight)
    torch.testing.assert_close(found, x)


def test_what_was_measured_without_noise_stays() -> None:
    y = torch.rand(1, 3, 16, 16)
    task = tasks.missing_pixels(y, a_mask())
    found = PlugAndPlay(lambda x, sigma: 0 * x, first=0.1, last=0.1, rounds=1)(torch.rand_like(y), task)
    known = a_mask().expand_as(y) > 0
    torch.testing.assert_close(found[known], y[known] / (1 + LAMBDA * (NOISELESS / 0.1) ** 2))
    assert float(found[~known].abs().max()) < 1e-6


@pytest.mark.parametrize(("first", "last", "rounds"), [(0.1, 0.2, 3), (2.0, 0.1, 3), (0.1, 0.0, 3), (0.1, 0.1, 0)])
def test_levels_out_of_range(first: float, last: float, rounds: int) -> None:
    with pytest.raises(SettingsError, match="last <= first"):
        PlugAndPlay(first=first, last=last, rounds=rounds)
