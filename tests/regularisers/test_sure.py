"""The divergence of SURE and PURE, and the rule that reads it."""

import math

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.regularisers.sure import Divergence
from hybrid_dip.stopping import ZeroCrossing
from tests.stopping.test_rules import step

SHAPE = (1, 1, 16, 16)


class Shrink(nn.Module):
    """f(y) = a y + c y^2: its divergence is sum (a + 2 c y)."""

    def __init__(self, curved: float = 0.0):
        super().__init__()
        self.curved = curved

    def forward(self, y: Tensor) -> Tensor:
        return 0.7 * y + self.curved * y.square()


def noisy(truth: Tensor, sigma: float) -> Task:
    return tasks.denoise(truth + sigma * torch.randn(truth.shape), sigma=sigma)


def test_sure_is_unbiased_over_a_thousand_draws() -> None:
    """For a fixed f, which is what the theorem is about."""
    truth, sigma, network = 0.5 * torch.rand(SHAPE) + 0.25, 0.1, Shrink(curved=0.2)
    errors = []
    for draw in range(1000):
        task = noisy(truth, sigma)
        y = task.observation
        x = network(y)
        term = Divergence().bind(task)
        term.refresh(draw, x)
        sure = (x - y).square().mean() + term(network, y, x) - sigma**2
        errors.append(float(sure - (x - truth).square().mean()))
    mean, deviation = sum(errors) / 1000, float(torch.tensor(errors).std())
    assert abs(mean) < 3 * deviation / math.sqrt(1000)
    assert 3 * deviation / math.sqrt(1000) < 0.05 * 2 * sigma**2 * 0.7  # the divergence left out would be seen


@pytest.mark.parametrize("level", [0.0, 0.05, 1.0])
def test_sure_of_clipped_noise_is_unbiased(level: float) -> None:
    """On black, nearly black and white. Without account of the clipping it errs by 0.2 sigma^2."""
    truth, sigma, network = torch.full((1, 1, 32, 32), level), 0.1, Shrink(curved=0.2)
    errors = []
    for draw in range(30):
        task = degradations.noisy(truth, sigma=sigma, clip=True, seed=draw).task
        y = task.observation
        x = network(y)
        term = Divergence().bind(task)
        term.refresh(draw, x)
        sure = (x - y).square().mean() + term(network, y, x) - ZeroCrossing().start(task)["energy"]
        errors.append(float(sure - (x - truth).square().mean()))
    doubt = float(torch.tensor(errors).std()) / math.sqrt(30)
    assert abs(sum(errors)) / 30 < 3 * doubt + 0.03 * sigma**2
    assert doubt < 0.02 * sigma**2


def test_pure_is_unbiased_over_a_thousand_draws() -> None:
    truth, zeta, network = torch.rand(SHAPE) + 0.5, 0.05, Shrink()
    errors = []
    for draw in range(1000):
        y = zeta * torch.poisson(truth / zeta)
        x = network(y)
        term = Divergence(zeta=zeta).bind(tasks.denoise(y, sigma=0.1))
        term.refresh(draw, x)
        pure = (x - y).square().mean() + term(network, y, x) - zeta * y.mean()
        errors.append(float(pure - (x - truth).square().mean()))
    mean, deviation = sum(errors) / 1000, float(torch.tensor(errors).std())
    assert abs(mean) < 3 * deviation / math.sqrt(1000)
    assert 3 * deviation / math.sqrt(1000) < 0.05 * 2 * zeta * 0.7


def test_batch_norms_running_statistics_stay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1))
    task = noisy(torch.rand(SHAPE), 0.1)
    x = network(task.observation)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    Divergence().bind(task)(network, task.observation, x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_zero_crossing_stops_where_the_estimate_is_no_longer_positive() -> None:
    rule, task = ZeroCrossing(), noisy(torch.rand(SHAPE), 0.1)
    state = rule.start(task)
    kept, stopped = [], []
    for index, (fidelity, divergence) in enumerate([(0.02, 0.01), (0.006, 0.005), (0.004, 0.005), (0.004, 0.01)]):
        shown = step(index, torch.rand(SHAPE))
        shown.losses.update(fidelity=torch.tensor(fidelity), divergence=torch.tensor(divergence))  # type: ignore[attr-defined]
        state, verdict = rule.update(state, shown)
        kept.append(bool(verdict.keep))
        stopped.append(bool(verdict.stop))
    assert kept == [True, True, True, False]
    assert stopped == [False, False, True, True]


def test_what_does_not_apply_is_said() -> None:
    image = torch.rand(SHAPE)
    with pytest.raises(SettingsError, match="level of Gaussian noise"):
        Divergence().bind(tasks.denoise(image, sigma=0.0))
    with pytest.raises(SettingsError, match="for denoising by a squared residual"):
        Divergence().bind(tasks.jpeg(image))
    with pytest.raises(SettingsError, match="within a fit only"):
        Divergence()(Shrink(), image, image)
    with pytest.raises(SettingsError, match="whose input is the noisy image"):
        Divergence().bind(noisy(image, 0.1))(Shrink(), torch.rand(1, 8, 16, 16), image)
    with pytest.raises(SettingsError, match="needs the level"):
        ZeroCrossing().start(tasks.jpeg(image))
    with pytest.raises(SettingsError, match="take the preset dip-sure"):
        ZeroCrossing().update(ZeroCrossing().start(noisy(image, 0.1)), step(0, image))
    with pytest.raises(SettingsError, match="epsilon > 0"):
        Divergence(epsilon=0)
