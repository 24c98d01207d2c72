import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from hybrid_dip.errors import Interrupted, SettingsError
from pretrained.training import Training, rate, run


def test_the_rate_warms_up_and_cools_down() -> None:
    rates = [rate(step, 10_000, 1e-3, 500) for step in range(10_000)]
    assert rates[0] == pytest.approx(2e-6)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-3)


def linear() -> Training[nn.Linear]:
    torch.manual_seed(0)
    return Training.of(nn.Linear(2, 1), seed=3)


def descend(training: Training[nn.Linear]) -> torch.Tensor:
    x = torch.randn(4, 2, generator=training.draw)
    return training.descend((training.network(x) - x.sum(1, keepdim=True)).square().mean(), 0.05, clip=1.0)


def test_the_average_lies_between_the_start_and_the_network() -> None:
    training = linear()
    first = copy.deepcopy(training.network)
    for _ in range(8):
        descend(training)
    gone = (training.network.weight - first.weight).abs()
    assert bool(((training.average.weight - first.weight).abs() < gone).all())
    assert bool(((training.average.weight - first.weight).abs() > 0).all())


def test_what_was_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    state, settings = tmp_path / "state.pt", {"steps": 5}
    whole, stopped, again = linear(), linear(), linear()
    run(whole, lambda: descend(whole), 5, tmp_path / "whole.pt", settings, halt=lambda: False, look=lambda loss: None)
    with pytest.raises(Interrupted, match="after 2 of 5 steps; repeat"):
        run(stopped, lambda: descend(stopped), 5, state, settings, halt=lambda: stopped.step == 2, look=lambda loss: None)
    again.resume(state, settings)
    run(again, lambda: descend(again), 5, state, settings, halt=lambda: False, look=lambda loss: "said")
    for name in ("network", "average"):
        assert torch.equal(getattr(again, name).weight, getattr(whole, name).weight)
    with pytest.raises(SettingsError, match=r"other settings \(steps 5, not 6\)"):
        again.resume(state, {"steps": 6})
    state.write_bytes(b"damaged")
    with pytest.raises(SettingsError, match="cannot be read"):
        again.resume(state, settings)
