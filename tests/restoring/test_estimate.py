from dataclasses import replace

import pytest
import torch
from torch import nn

from hybrid_dip.errors import HybridDIPError
from hybrid_dip.execution import devices
from hybrid_dip.problem import tasks
from hybrid_dip.recipes import presets
from hybrid_dip.restoring import estimate


def task(side: int) -> tasks.Task:
    return tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)


def test_memory_grows_with_the_pixels() -> None:
    small, large = (estimate.memory_of_a_step(task(side), presets.quick(task(side))) for side in (256, 512))
    assert 3.5 < large / small < 4.1


def test_memory_of_a_network_counted_by_hand() -> None:
    """x = theta saves nothing for backward: four images of parameters and moments, and what the loop keeps."""
    from hybrid_dip import networks

    made = task(64)
    recipe = replace(presets.quick(made), network=networks.pixels)
    image = 3 * 64 * 64 * 4
    latent = 32 * 64 * 64 * 4
    assert estimate.memory_of_a_step(made, recipe) == estimate.ALWAYS + int(estimate.OVERHEAD * image) + 16 * image + 2 * latent


class LooksAtItsValues(nn.Module):
    """As a stranger's network may, in a way that torch's meta device cannot follow."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.size = float(self.layer.weight.detach().abs().mean())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        scale = float(z.detach().abs().max()) or 1.0
        found: torch.Tensor = self.layer(z / scale).sigmoid()
        return found


def test_a_network_that_reads_values_is_estimated_without_memory() -> None:
    made = task(32)
    found = estimate.estimate(made, replace(presets.quick(made), network=LooksAtItsValues), torch.device("cpu"))
    assert (found.memory, found.parameters) == (0, 32 * 3 * 9 + 3)
    assert "memory not known beforehand" in found.sentence(10)


def test_counting_allocates_nothing_and_draws_nothing() -> None:
    huge = tasks.super_resolve(torch.rand(1, 3, 256, 256), factor=100)  # 25600 x 25600
    before = torch.get_rng_state()
    assert estimate.memory_of_a_step(huge, presets.original(huge)) > 2**40
    assert torch.equal(before, torch.get_rng_state())


def test_what_does_not_fit_is_refused_with_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda device: 2**20)
    made = task(64)
    with pytest.raises(HybridDIPError, match=r"--preset quick, .* --crop, or another --device"):
        estimate.estimate(made, presets.quick(made), torch.device("cpu"))


def test_a_fit_that_ends_at_once_is_timed() -> None:
    """A grey image and a noise level so high that the first output is near enough: one step is not enough to time."""
    flat = tasks.denoise(torch.full((1, 1, 32, 32), 0.5), sigma=60 / 255)
    recipe = presets.fast(flat)
    where = torch.device("cpu")
    assert estimate.seconds_of_a_step(flat, recipe, [], where) > 0
    _, trials = estimate.picked("auto", "off", "off", flat, recipe, [], where)
    assert [trial.error for trial in trials if not trial.execution.compiled] == [""] * len(trials)


def test_nothing_is_tried_that_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    where, made = torch.device("cpu"), task(32)
    assert len(estimate.picked("auto", "off", "off", made, presets.quick(made), [], where)[1]) == 2
    monkeypatch.setattr(devices, "free_memory", lambda device: 1)
    assert estimate.picked("auto", "off", "off", made, presets.quick(made), [], where) == (estimate.PLAIN, [])


def test_the_estimate_leaves_the_random_state_alone() -> None:
    made = task(16)
    before = torch.get_rng_state()
    cost = estimate.estimate(made, presets.quick(made), torch.device("cpu"))
    assert torch.equal(before, torch.get_rng_state())
    assert cost.seconds_per_step > 0
    assert cost.parameters == 1_041_815
    assert "1,041,815 parameters" in cost.sentence(100)


@pytest.mark.parametrize(("seconds", "text"), [(45.2, "45 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_are_said_as_a_person_would(seconds: float, text: str) -> None:
    assert estimate.duration(seconds) == text
