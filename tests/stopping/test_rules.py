import math

import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Rule, Step, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations, fidelity, tasks
from hybrid_dip.stopping import Discrepancy, Following, MaxSteps, MovingVariance, Whiteness, WindowedVariance, variance
from hybrid_dip.stopping.steps import After
from hybrid_dip.stopping.whiteness import correlation


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
    monkeypatch.setattr(variance, "RING_ENTRIES", 100)
    rule = WindowedVariance(window=4)
    state = rule.start(task(side=64))
    assert state["ring"].shape == (4, 100)
    state, _ = rule.update(state, step(0, torch.rand(1, 1, 64, 64)))
    assert state["ring"].shape == (4, 100)


def test_discrepancy_stops_at_the_size_of_the_noise() -> None:
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
    """The threshold is the squared residual of the truth, whatever the level: on black and on white half of sigma^2."""
    clean = torch.full((1, 3, 64, 64), level)
    clipped = degradations.noisy(clean, sigma=0.1, clip=True).task
    threshold = float(Discrepancy().start(clipped)["threshold"])
    assert threshold == pytest.approx(float((clipped.observation - clean).square().sum()), rel=0.04)
    plain = degradations.noisy(clean, sigma=0.1).task
    assert float(Discrepancy().start(plain)["threshold"]) == pytest.approx(0.01 * clean.numel())


def test_discrepancy_needs_a_noise_level() -> None:
    with pytest.raises(SettingsError, match="level of Gaussian noise"):
        Discrepancy().start(tasks.jpeg(torch.rand(1, 3, 16, 16)))


@pytest.mark.parametrize(
    "make", [lambda: WindowedVariance(window=1), lambda: WindowedVariance(patience=0), lambda: Discrepancy(0)]
)
def test_bad_options(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]


def test_moving_variance_has_the_minimum_of_the_paper_s_recursion() -> None:
    alpha, images, x = 0.2, [], torch.rand(1, 1, 16, 16)
    for index in range(90):
        x = x + torch.randn_like(x) * (0.002 + 0.001 * abs(index - 40))
        images.append(x)
    mean, emv, values = images[0], 0.0, [0.0]
    for image in images[1:]:
        emv = (1 - alpha) * emv + alpha * (1 - alpha) * float((image - mean).square().sum())
        mean = (1 - alpha) * mean + alpha * image
        values.append(emv)
    rule = MovingVariance(alpha=alpha, patience=15)
    best = min(range(rule.filling, 90), key=values.__getitem__)
    kept, stopped = follow(rule, images, task())
    assert kept[: rule.filling] == [True] * rule.filling
    assert max(i for i in range(90) if kept[i]) == best
    assert stopped.index(True) == best + 15


def test_correlation_is_the_sum_of_squared_autocorrelations() -> None:
    r = torch.rand(1, 2, 5, 6)
    brute = []
    for channel in (r - r.mean((-2, -1), keepdim=True))[0]:
        total = float(channel.square().sum())
        shifts = [(i, j) for i in range(5) for j in range(6) if (i, j) != (0, 0)]
        brute.append(sum((float((channel * channel.roll(s, (0, 1))).sum()) / total) ** 2 for s in shifts))
    assert float(correlation(r)) == pytest.approx(sum(brute) / 2, rel=1e-4)


def test_whiteness_keeps_the_residual_without_structure() -> None:
    noise = torch.randn(1, 1, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    ramp = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32) + 0.1 * noise
    residuals = [ramp, blurred, noise, noise - blurred, torch.zeros(1, 1, 32, 32) + 0.5]
    kept, stopped = follow(Whiteness(patience=2), residuals[:4], task(side=32))
    assert kept == [True, True, True, False]
    _, stopped = follow(Whiteness(patience=1), residuals[1:], task(side=32))
    assert stopped == [False, False, True, True]


def test_whiteness_of_a_constant_residual_is_finite() -> None:
    assert math.isfinite(float(correlation(torch.full((1, 3, 16, 16), 0.2))))


def test_whiteness_needs_an_image() -> None:
    flat = Task(torch.rand(10), (1, 1, 16, 16), lambda x: x.flatten()[:10], fidelity.gaussian)
    with pytest.raises(SettingsError, match="observation that is an image"):
        Whiteness().start(flat)


def test_after_keeps_the_last_of_its_steps() -> None:
    kept, stopped = follow(After(2), [torch.zeros(1, 1, 16, 16)] * 4, task())
    assert kept == [True, True, False, False]
    assert stopped == [False, True, True, True]


def test_following_keeps_the_rule_s_choice_and_goes_on() -> None:
    images = [torch.full((1, 1, 16, 16), level) for level in (0.3, 0.11, 0.09, 0.05)]
    following = Following(Discrepancy(), task(sigma=0.1))
    for index, image in enumerate(images):
        following(step(index, image))
        if index == 1:
            again = Following(Discrepancy(), task(sigma=0.1))
            again.load_state_dict(following.state_dict())
            following = again
    assert following.image is not None
    assert torch.equal(following.image, images[2])
    assert (following.kept_at, following.stopped_at) == (2, 2)
