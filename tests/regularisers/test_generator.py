from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import tasks
from hybrid_dip.regularisers import NoiseSensitivity, Orthogonality, SpectralNorm, StartDistance, WeightDecay

TASK = tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.1)
Z = torch.zeros(1, 2)


def value(regulariser: Any, network: nn.Module) -> float:
    return float(regulariser(network, Z, network(Z)).detach())


def linear() -> nn.Module:
    """Multiplies by 3 and 4."""
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([3.0, 4.0]).diag())
    return network


def test_by_hand() -> None:
    network = linear()
    assert value(WeightDecay(), network) == pytest.approx(25 / 4)
    assert value(SpectralNorm(bound=1), network) == pytest.approx((4 - 1) ** 2)
    assert value(SpectralNorm(bound=5), network) == 0
    assert value(Orthogonality(), network) == pytest.approx(2 * (9 / 12.5 - 1) ** 2 / 4)


def test_the_distance_to_the_start() -> None:
    network = linear()
    distance = StartDistance().bind(TASK)
    assert value(distance, network) == 0
    with torch.no_grad():
        network.weight[0, 0] += 2  # type: ignore[index]
    assert value(distance, network) == pytest.approx(4 / 4)
    assert value(StartDistance().bind(TASK), network) == 0


def test_noise_sensitivity_is_the_jacobians_norm_on_average() -> None:
    network = linear()
    sensitivity = NoiseSensitivity(delta=0.5).bind(TASK)
    values = []
    for step in range(4000):
        sensitivity.refresh(step, Z)
        values.append(value(sensitivity, network))
    deviation = torch.tensor(values).std() / 4000**0.5
    assert sum(values) / 4000 == pytest.approx(25 / 2, abs=4 * float(deviation))


def test_the_spectral_norm_is_of_filters_as_a_matrix() -> None:
    convolution = nn.Conv2d(3, 8, 3)
    x = torch.zeros(1)
    largest = torch.linalg.svdvals(convolution.weight.detach().flatten(1))[0]
    found = SpectralNorm(bound=0)(convolution, Z, x)
    assert float(found.detach()) == pytest.approx(float(largest) ** 2, rel=1e-5)


@pytest.mark.parametrize("regulariser", [WeightDecay(), SpectralNorm(), Orthogonality(), StartDistance()])
def test_a_network_that_is_not_optimised(regulariser: object) -> None:
    network = linear().requires_grad_(False)
    with pytest.raises(SettingsError, match="that are optimised"):
        regulariser(network, Z, Z)  # type: ignore[operator]


def test_options_out_of_range() -> None:
    with pytest.raises(SettingsError, match="bound of at least 0"):
        SpectralNorm(bound=-1)
    with pytest.raises(SettingsError, match="delta above 0"):
        NoiseSensitivity(delta=0)


def test_running_statistics_stay(photograph: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    x = network(photograph)
    before = [buffer.clone() for buffer in network.buffers()]
    NoiseSensitivity()(network, photograph, x).backward()
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
