"""A learned denoiser fitted to the one image."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.adapted import adapted
from hybrid_dip.regularisers.denoisers import nlm
from hybrid_dip.stopping import MaxSteps
from tests.command import Command

SIGMA = 0.3


class Scale(nn.Module):
    """x times a number, by a convolution of one pixel."""

    def __init__(self, by: float = 1.0):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.layer.weight, by)
        self.told: list[object] = []

    def forward(self, x: Tensor, sigma: object) -> Tensor:
        self.told.append(sigma)
        scaled: Tensor = self.layer(x)
        return scaled


@pytest.fixture
def noisy() -> hd.Case:
    return degradations.noisy(torch.rand(1, 1, 32, 32), sigma=SIGMA)


def test_the_gain_is_that_of_stein(noisy: hd.Case) -> None:
    """Of all multiples of y the best, by SURE, is y (1 - sigma^2 / mean y^2)."""
    y = noisy.task.observation
    recipe = replace(adapted(noisy.task, Scale()), lr=0.02, steps=150, rule=MaxSteps())
    found = hd.restore(noisy.task, preset=recipe)
    best = 1 - SIGMA**2 / float(y.square().mean())
    assert float((found.raw * y).sum() / y.square().sum()) == pytest.approx(best, abs=0.01)
    assert found.raw.allclose(best * y, atol=0.02)


def test_a_denoiser_that_suits_the_image_is_left_as_it_is(noisy: hd.Case) -> None:
    """Gains from 1 on, of the best multiple: no step brings anything."""
    best = 1 - SIGMA**2 / float(noisy.task.observation.square().mean())
    found = hd.restore(noisy.task, preset=partial(adapted, denoiser=Scale(best)))
    assert found.raw.allclose(best * noisy.task.observation, atol=0.01)


def test_it_begins_with_the_one_shot_image_and_is_told_the_level(noisy: hd.Case) -> None:
    denoiser = Scale(0.5)
    recipe = replace(adapted(noisy.task, denoiser), steps=1, rule=MaxSteps())
    assert torch.equal(hd.restore(noisy.task, preset=recipe).raw, 0.5 * noisy.task.observation)
    assert denoiser.told == []  # the user's own network is copied
    network = recipe.network(1, 1)
    network(noisy.task.observation)
    assert network.denoiser.told == [SIGMA]
    assert all(parameter.requires_grad == ("gains" in name) for name, parameter in network.named_parameters())


def test_what_does_not_apply_is_said(noisy: hd.Case, photograph: Tensor) -> None:
    with pytest.raises(SettingsError, match="needs a denoiser that is a network, such as adapted:denoiser=bundled"):
        adapted(noisy.task, nlm)
    with pytest.raises(SettingsError, match="for denoising by a squared residual"):
        adapted(tasks.super_resolve(photograph, factor=4), Scale())
    with pytest.raises(SettingsError, match="independent between pixels"):
        adapted(replace(noisy.task, correlation=(0.6, 0.3)), Scale())
    with pytest.raises(SettingsError, match="Linear has none"):
        hd.restore(noisy.task, preset=partial(adapted, denoiser=nn.Linear(3, 3)))


@pytest.mark.parametrize("name", ["adapted:denoiser=bundled", "adapted:denoiser=bundled,steps=2"])
def test_on_the_command_line(name: str, files: Path, hybrid_dip_command: Command) -> None:
    code, _, err = hybrid_dip_command(
        "restore", files / "noisy.png", "--task", "denoise", "--sigma", 25, "--preset", name, "--steps", 2, "-o", files / "out"
    )
    assert code == 0, err
    assert (files / "out" / "restored.png").is_file()
