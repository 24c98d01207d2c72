from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.noise_network import LEAST, NoiseNetwork, Reading
from pretrained import train_noise, training
from pretrained.train_noise import loss_of, neighbours, train


def test_the_correlation_of_neighbours() -> None:
    noise = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    alike = (noise + noise.roll(1, -1) + noise.roll(1, -2) + noise.roll((1, 1), (-2, -1))) / 2
    assert torch.allclose(neighbours(alike), torch.tensor([0.5, 0.0, 0.0]).expand(2, 3), atol=0.03)


def test_the_loss_is_least_at_what_there_is() -> None:
    error = 0.1 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def loss(variance: float, correlation: float) -> float:
        reading = Reading(torch.full((1, 3, 8, 8), variance), torch.full((1, 3), correlation), torch.full((1,), 0.05))
        return float(loss_of(reading, error))

    right = loss(0.01 + LEAST**2, 0.0)
    assert right < min(loss(0.008, 0.0), loss(0.0125, 0.0), loss(0.01, 0.2))


def test_a_stopped_training_goes_on_to_the_same_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_noise, "SIDE", 16)
    monkeypatch.setattr(train_noise, "SIZE", 2)
    train(folder, tmp_path / "whole", 3)
    monkeypatch.setattr(training, "SAVED_EVERY", 0.0)
    calls = 0

    def killed(reading: Reading, error: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return loss_of(reading, error)

    with monkeypatch.context() as patched:
        patched.setattr(train_noise, "loss_of", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(folder, tmp_path / "stopped", 3)
    train(folder, tmp_path / "stopped", 3)
    found = [load_file(tmp_path / name / "noise_network.safetensors") for name in ("whole", "stopped")]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    NoiseNetwork().load_state_dict({name: value.float() for name, value in found[0].items()})
    with pytest.raises(SettingsError, match="steps 3, not 4"):
        train(folder, tmp_path / "stopped", 4)
