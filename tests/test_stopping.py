import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hybrid_dip import degradations, stopping, tasks
from hybrid_dip.contracts import Rule, Step, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.stopping import Discrepancy, MaxSteps, WindowedVariance, clipped_gaussian


def task(side: int = 16, sigma: float | None = 0.1) -> Task:
    return tasks.denoise(torch.full((1, 1, side, side), 0.5), sigma=sigma or 0.0)


def step(index: int, image: Tensor, residual: Tensor | None = None) -> Step:
    zero = torch.zeros(())
    return Step(index, image, None, image if residual is None else residual, {"total": zero}, {}, {}, 0.01, False)


def follow(rule: Rule, images: list[Tensor], of: Task) -> tuple[list[bool], list[bool]]:
    state, kept, stopped = rule.start(of), [], []
    for index, image in enumerate(images):
        state, verdict = rule.update(state, step(index, image))
        kept.append(bool(verdict.keep))
        stopped.append(bool(verdict.stop))
    return kept, stopped


def test_max_steps_keeps_every_step() -> None:
    kept, stopped = follow(MaxSteps(), [torch.zeros(1, 1, 16, 16)] * 3, task())
    assert kept == [True] * 3
    assert stopped == [False] * 3


def test_windowed_variance_finds_the_minimum_that_brute_force_finds() -> None:
    window = 5
    # steps shrink until 30, then grow again: the images vary least around there
    images, x = [], torch.rand(1, 1, 16, 16)
    for index in range(80):
        x = x + torch.randn_like(x) * (0.002 + 0.001 * abs(index - 30))
        images.append(x)
    variances = [
        float(torch.stack(images[i - window + 1 : i + 1]).double().var(0, unbiased=False).sum()) if i + 1 >= window else 1e9
        for i in range(80)
    ]
    best = min(range(80), key=variances.__getitem__)
    kept, stopped = follow(WindowedVariance(window=window, patience=20), images, task())
    assert max(i for i in range(80) if kept[i]) == best
    # it stops once there has been no new minimum for `patience` steps, and keeps nothing after that
    assert stopped.index(True) == best + 20
    running = 1e9
    for i in range(window - 1, best + 1):
        assert kept[i] == (variances[i] < running)
        running = min(running, variances[i])


def test_windowed_variance_keeps_the_latest_while_its_window_fills() -> None:
    kept, _ = follow(WindowedVariance(window=10), [torch.rand(1, 1, 16, 16) for _ in range(8)], task())
    assert kept == [True] * 8


def test_windowed_variance_bounds_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "RING_ENTRIES", 100)
    rule = WindowedVariance(window=4)
    state = rule.start(task(side=64))
    assert state["ring"].shape == (4, 100)
    state, _ = rule.update(state, step(0, torch.rand(1, 1, 64, 64)))
    assert state["ring"].shape == (4, 100)


def test_discrepancy_stops_when_the_residual_has_the_size_of_the_noise() -> None:
    sigma = 0.1
    residuals = [torch.full((1, 1, 16, 16), level) for level in (0.3, 0.11, 0.09, 0.05)]
    kept, stopped = follow(Discrepancy(), residuals, task(sigma=sigma))
    assert kept == [True, True, True, False]
    assert stopped == [False, False, True, True]


def test_discrepancy_counts_measured_entries_only() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :4] = 1  # a quarter
    masked = tasks.inpaint(torch.full((1, 1, 16, 16), 0.5), mask, sigma=0.1)
    # the residual is zero where nothing was measured
    _, stopped = follow(Discrepancy(), [0.11 * mask, 0.09 * mask], masked)
    assert stopped == [False, True]


@pytest.mark.parametrize("level", [0.0, 0.05, 0.5, 1.0])
def test_discrepancy_knows_that_noise_was_clipped(level: float) -> None:
    """The threshold is what the clipped noise sums up to, whatever the level: on black and white a third of sigma^2."""
    clean = torch.full((1, 3, 64, 64), level)
    clipped = degradations.noisy(clean, sigma=0.1, clip=True).task
    noise = clipped.observation - clipped.observation.mean()
    threshold = float(Discrepancy().start(clipped)["threshold"])
    assert threshold == pytest.approx(float(noise.square().sum()), rel=0.06)
    plain = degradations.noisy(clean, sigma=0.1).task
    assert float(Discrepancy().start(plain)["threshold"]) == pytest.approx(0.01 * clean.numel())


def test_clipped_gaussian_has_the_moments_of_the_half_normal_at_the_bounds() -> None:
    mean, variance = clipped_gaussian(np.array([0.0, 0.5, 1.0]), 0.1)
    at_bound = 0.1 / math.sqrt(2 * math.pi)
    assert mean == pytest.approx([at_bound, 0.5, 1 - at_bound], rel=1e-3)
    assert variance == pytest.approx([0.005 - at_bound**2, 0.01, 0.005 - at_bound**2], rel=1e-2)


def test_discrepancy_needs_a_noise_level() -> None:
    with pytest.raises(SettingsError, match="level of Gaussian noise"):
        Discrepancy().start(tasks.jpeg(torch.rand(1, 3, 16, 16)))


@pytest.mark.parametrize(
    "make", [lambda: WindowedVariance(window=1), lambda: WindowedVariance(patience=0), lambda: Discrepancy(0)]
)
def test_bad_options(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]
