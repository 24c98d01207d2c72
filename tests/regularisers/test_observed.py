import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.problem import fidelity
from hybrid_dip.problem.noise_estimate import Level, NoiseEstimate
from hybrid_dip.regularisers.denoisers import mark, nlm
from hybrid_dip.regularisers.observed import coarseness, denoised_observation


def uneven(photograph: Tensor, correlation: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Task:
    levels = (Level((0.0, 1.0), (0.01, 0.05)),) * 3
    return hd.tasks.denoise(photograph, noise=NoiseEstimate(0.03, levels, correlation, 0.05))


def test_a_denoiser_is_told_a_map_where_it_takes_one(photograph: Tensor) -> None:
    asked: list[Tensor | float] = []

    def note(x: Tensor, sigma: Tensor | float) -> Tensor:
        asked.append(sigma)
        return x

    task = uneven(photograph)
    assert torch.equal(denoised_observation(note, task), photograph)
    denoised_observation(mark(takes_map=True)(note), task)
    number, level = asked
    assert isinstance(number, float)
    assert isinstance(level, Tensor)
    assert level.shape == (1, 1, *photograph.shape[-2:])
    assert number == pytest.approx(float(level.square().mean().sqrt()))
    assert float(level.max()) > 1.3 * float(level.min())


def test_coarse_noise_is_told_as_more(photograph: Tensor) -> None:
    asked: list[float] = []

    def note(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x

    task = uneven(photograph, (0.6, 0.3, 0.1))
    assert coarseness(uneven(photograph), note) == 1
    assert coarseness(task, note) == pytest.approx(3**0.75)
    denoised_observation(note, task)
    denoised_observation(mark(takes_coarse=True)(note), task)
    assert asked[0] == pytest.approx(3**0.75 * asked[1])


def test_white_noise_is_told_as_it_is_and_never_as_less_than_two(photograph: Tensor) -> None:
    asked: list[float | None] = []

    def note(x: Tensor, sigma: float | None = None) -> Tensor:
        asked.append(sigma)
        return x

    for level in (0.1, 0.001):
        denoised_observation(note, hd.tasks.denoise(photograph, sigma=level))
    assert asked == pytest.approx([0.1, 2 / 255])
    denoised_observation(mark(takes_coarse=True)(note), hd.tasks.denoise(photograph, sigma=0.1))
    assert asked[2] is None, "made for other noise, it looks for itself"


def test_photon_noise_is_made_even_first() -> None:
    ramp = torch.linspace(0.05, 1, 96).expand(1, 1, 96, 96)
    noisy = torch.poisson(20 * ramp, generator=torch.Generator().manual_seed(0)) / 20
    photons = denoised_observation(nlm, hd.tasks.denoise(noisy, fidelity=fidelity.poisson))
    level = float((noisy - ramp).square().mean().sqrt())
    plain = denoised_observation(nlm, hd.tasks.denoise(noisy, sigma=level))
    error, before = (float((x - ramp).square().mean()) for x in (photons, plain))
    assert error < before
    assert error < 0.1 * level**2
