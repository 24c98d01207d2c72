"""Noise that is drawn has the covariance that the task says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.problem import tasks
from hybrid_dip.regularisers.noise_draw import colours, noise_like

SIGMA = 0.05
ALIKE = (0.6, 0.3, 0.1)


def coarse(channels: int = 1, mixed: Tensor | None = None, seed: int = 0) -> Task:
    """A grey image with noise that is drawn for itself; with ``mixed`` its colours are mixtures."""
    flat = torch.full((1, channels, 64, 64), 0.5)
    task = replace(tasks.denoise(flat, sigma=SIGMA), correlation=ALIKE)
    noise = noise_like(task)(np.random.default_rng(seed))
    noise = noise if mixed is None else torch.einsum("ij,njhw->nihw", mixed, noise)
    return replace(task, observation=flat + noise)


def test_white_noise_is_the_deviation_times_standard_normal_numbers(photograph: Tensor) -> None:
    precision = torch.full_like(photograph, 4.0)
    task = replace(tasks.denoise(photograph, sigma=SIGMA), precision=precision)
    drawn = noise_like(task)(np.random.default_rng(3))
    normal = torch.from_numpy(np.random.default_rng(3).standard_normal(photograph.shape)).float()
    assert torch.allclose(drawn, 0.5 * SIGMA * normal)


def test_neighbours_are_as_alike_as_the_task_says() -> None:
    draw = noise_like(coarse())
    noise = torch.cat([draw(np.random.default_rng(seed)) for seed in range(100)])
    variance = float(noise.square().mean())
    assert variance == pytest.approx(SIGMA**2, rel=0.03)
    for lag, alike in enumerate((*ALIKE, 0.0, 0.0), 1):
        for shifted in (noise[..., lag:, :] * noise[..., :-lag, :], noise[..., lag:] * noise[..., :-lag]):
            assert float(shifted.mean()) / variance == pytest.approx(alike, abs=0.02)
    diagonal = float((noise[..., 1:, 1:] * noise[..., :-1, :-1]).mean()) / variance
    assert diagonal == pytest.approx(ALIKE[0] ** 2, abs=0.02)
    opposite = float((noise[..., 0] * noise[..., -1]).mean()) / variance
    assert abs(opposite) < 0.05  # what is drawn is periodic, but with a margin


def test_colours_are_as_alike_as_in_the_observation() -> None:
    mixed = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    task = coarse(3, mixed)
    noise = noise_like(task)(np.random.default_rng(1))
    found = torch.corrcoef(noise[0].flatten(1))
    assert found[0, 1] == pytest.approx(0.8, abs=0.1)
    assert abs(float(found[0, 2])) < 0.15
    assert float(torch.linalg.eigvalsh(colours(task)).min()) > 0


def test_uneven_noise_is_drawn_uneven() -> None:
    task = coarse()
    precision = torch.ones(1, 1, 64, 64)
    precision[..., :32] = 4
    noise = noise_like(replace(task, precision=precision))(np.random.default_rng(0))
    assert float(noise[..., :32].std()) == pytest.approx(SIGMA / 2, rel=0.15)
    assert float(noise[..., 32:].std()) == pytest.approx(SIGMA, rel=0.15)
