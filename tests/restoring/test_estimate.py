from dataclasses import replace

import pytest
import torch
from torch import nn

from hybrid_dip.errors import HybridDIPError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN
from hybrid_dip.problem import tasks
from hybrid_dip.recipes import presets
from hybrid_dip.restoring import estimate


def task(side: int) -> tasks.Task:
    return tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)


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


def test_what_does_not_fit_is_refused_with_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda device: 2**20)
    made = task(64)
    with pytest.raises(HybridDIPError, match=r"--preset quick, .* --crop, or another --device"):
        estimate.estimate(made, presets.quick(made), torch.device("cpu"))


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


def test_a_shorter_preset_is_named_for_a_long_restoration_only() -> None:
    made, cpu = task(32), torch.device("cpu")
    assert estimate.shorter_preset(made, cpu, PLAIN, estimate.LONG - 1) is None
    named = estimate.shorter_preset(made, cpu, PLAIN, 1e9)
    assert named is not None
    assert named[0] == "fast"
    assert named[1] > 0
