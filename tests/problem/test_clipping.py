"""Clipped Gaussian noise, against closed forms, quadrature and draws."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from hybrid_dip.problem import degradations, tasks
from hybrid_dip.problem.clipping import clipped_energy, clipped_level, clipped_mean, cut_off, noise_energy, unclip

SIGMA = 0.1
LEVELS = torch.tensor([0.0, 0.03, 0.1, 0.5, 0.85, 1.0], dtype=torch.float64)


def text(side: int = 48) -> Tensor:
    """Black strokes two pixels wide on white: in a window of seven pixels there are always both."""
    page = torch.ones(1, 1, side, side)
    page[..., 4:-4, ::6] = 0
    page[..., 4:-4, 1::6] = 0
    return page


def blown() -> Tensor:
    """A sky far beyond white over black ground: the sky has no noise left."""
    scene = torch.zeros(1, 1, 48, 48)
    scene[..., :24, :] = 1.6
    return scene


def clipped(clean: Tensor, seed: int = 0) -> Tensor:
    return degradations.noisy(clean, sigma=SIGMA, clip=True, seed=seed).task.observation


@pytest.mark.parametrize("sigma", [0.01, SIGMA, 1.0])
def test_moments_are_those_of_quadrature(sigma: float) -> None:
    points = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
    values = (LEVELS[:, None] + sigma * points).clamp(0, 1)
    torch.testing.assert_close(clipped_mean(LEVELS, sigma), values.mean(1), rtol=0, atol=1e-5 * sigma)
    energy = (values - LEVELS[:, None]).square().mean(1)
    torch.testing.assert_close(clipped_energy(LEVELS, sigma), energy, rtol=0, atol=1e-3 * sigma**2)


def test_half_of_the_noise_is_left_on_black_and_on_white() -> None:
    ends = torch.tensor([0.0, 1.0])
    at_bound = SIGMA / math.sqrt(2 * math.pi)
    assert clipped_mean(ends, SIGMA).tolist() == pytest.approx([at_bound, 1 - at_bound])
    assert clipped_energy(ends, SIGMA).tolist() == pytest.approx([SIGMA**2 / 2] * 2)
    assert float(clipped_energy(torch.tensor(0.5), SIGMA)) == pytest.approx(SIGMA**2, rel=1e-4)


def test_what_is_cut_off_is_the_mean_of_a_truncated_gaussian() -> None:
    for level in LEVELS.tolist():
        below = stats.truncnorm.mean(-math.inf, -level / SIGMA, loc=level, scale=SIGMA)
        above = stats.truncnorm.mean((1 - level) / SIGMA, math.inf, loc=level, scale=SIGMA)
        y = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        assert cut_off(y, torch.full_like(y, level), SIGMA).tolist() == pytest.approx([-below, 0, 1 - above], abs=1e-9)


def test_entries_far_from_where_they_should_be_stay_finite() -> None:
    """A white outlier on black, with little noise: a tail of a hundred deviations."""
    y, level = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    assert bool(cut_off(y, level, 0.01).isfinite().all())
    found = unclip(y, level, 0.01, np.random.default_rng(0))
    torch.testing.assert_close(found, y, rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.05, 1.0])
def test_unclipped_noise_is_gaussian_again(level: float) -> None:
    clean = torch.full((1, 1, 100, 100), level)
    y = clipped(clean)
    drawn = unclip(y, clean, SIGMA, np.random.default_rng(1)) - clean
    assert stats.kstest(drawn.flatten().numpy() / SIGMA, "norm").pvalue > 0.01
    assert stats.kstest((y - clean).flatten().numpy() / SIGMA, "norm").pvalue < 1e-6
    within = (y > 0) & (y < 1)
    assert torch.equal((drawn + clean)[within], y[within])


@pytest.mark.parametrize(
    ("clean", "masked"),
    [
        (torch.zeros(1, 3, 48, 48), False),
        (torch.full((1, 1, 48, 48), 0.04), False),
        (text(), False),
        (text() * 0.04, True),
        (blown(), False),
    ],
)
def test_the_energy_is_the_squared_residual_of_the_truth(clean: Tensor, masked: bool) -> None:
    mask = (torch.rand(1, 1, 48, 48) < 0.6).float() if masked else torch.ones(1, 1, 48, 48)
    found, true = [], []
    for seed in range(5):
        y = clipped(clean, seed)
        found.append(noise_energy(tasks.inpaint(y * mask, mask, sigma=SIGMA) if masked else tasks.denoise(y, sigma=SIGMA)))
        true.append(float(((y - clean.clamp(0, 1)).square() * mask).sum() / mask.expand_as(y).sum()))
    assert sum(found) == pytest.approx(sum(true), rel=0.06)
    assert sum(true) < 0.75 * 5 * SIGMA**2  # so the test could have failed


def test_noise_that_was_not_clipped_counts_in_full(photograph: Tensor) -> None:
    plain = degradations.noisy(photograph, sigma=SIGMA).task
    assert clipped_level(plain) is None
    assert noise_energy(plain) == SIGMA**2
    middle = degradations.noisy(0.4 + 0.2 * photograph, sigma=0.02, clip=True).task
    assert clipped_level(middle) is None
    assert clipped_level(tasks.denoise(torch.zeros(1, 3, 32, 32), sigma=0.0)) is None
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32)
    missing = tasks.inpaint(0.5 * stripes, stripes, sigma=SIGMA)
    assert clipped_level(missing) is None, "what was not measured is 0, but was not clipped"
