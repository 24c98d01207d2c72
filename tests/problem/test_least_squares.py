"""Least squares against the solutions of dense matrices."""

import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Case
from hybrid_dip.problem import degradations, operators
from hybrid_dip.problem.least_squares import conjugate_gradients, interpolation, nearest_explanation

SHAPE = (1, 1, 16, 16)


@pytest.mark.parametrize("solved", [None, 1e-20])
def test_conjugate_gradients_solve_a_small_system(solved: float | None) -> None:
    root = torch.randn(6, 6, dtype=torch.float64)
    matrix, right, start = root @ root.T + torch.eye(6), *torch.randn(2, 6, dtype=torch.float64)
    x = conjugate_gradients(lambda v: matrix @ v, start, right - matrix @ start, steps=8, solved=solved)
    assert torch.allclose(x, torch.linalg.solve(matrix, right), atol=1e-6)


@pytest.mark.parametrize("solved", [None, 1e-8])
def test_nothing_moves_where_the_start_is_the_solution(solved: float | None) -> None:
    start = torch.rand(5)
    assert torch.equal(conjugate_gradients(lambda v: 2 * v, start, torch.zeros(5), steps=3, solved=solved), start)


def cases() -> list[Case]:
    clean = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3))
    return [
        degradations.scattered(clean, share=0.5, sigma=0.1),
        degradations.downsampled(clean, factor=2, kernel="box", sigma=0.1),
        degradations.blurred(clean, operators.gaussian_psf(0.7), sigma=0.1),
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_nearest_explanation_is_that_of_the_normal_equations(case: Case) -> None:
    task, v = case.task, torch.rand(SHAPE)
    columns = [task.forward(one.view(SHAPE)).flatten() for one in torch.eye(256)]
    matrix = torch.stack(columns, 1).double()
    seen = torch.ones_like(task.observation) if task.weight is None else task.weight
    weighted = matrix.T * seen.flatten()
    right = weighted @ task.observation.flatten().double() + 0.1 * v.flatten().double()
    expected = torch.linalg.solve(weighted @ matrix + 0.1 * torch.eye(256), right)
    assert torch.allclose(nearest_explanation(v, task, 0.1).flatten().double(), expected, atol=1e-3)


def test_interpolation_keeps_what_is_known_and_fills_holes_from_around() -> None:
    clean = torch.full(SHAPE, 0.25)
    clean[..., 8:] = 0.75
    mask = torch.ones(SHAPE)
    mask[..., 4:7, 2:5] = 0
    image = interpolation(degradations.masked(clean, mask).task)
    assert torch.allclose(image, clean)


def test_interpolation_enlarges_a_small_image() -> None:
    clean: Tensor = torch.full(SHAPE, 0.5)
    image = interpolation(degradations.downsampled(clean, factor=4, kernel="lanczos2").task)
    assert image.shape == clean.shape
    assert torch.allclose(image, clean, atol=1e-5)
