"""A network whose filters stay and whose channels are made stronger or weaker."""

import pytest
import torch
from torch import nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.networks.gains import with_gains


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(5, 4, 2, stride=2), nn.BatchNorm2d(4))


def test_gains_of_one_change_nothing() -> None:
    network, x = small().eval(), torch.rand(1, 3, 16, 16)
    before = network(x)
    assert torch.equal(with_gains(network)(x), before)


def test_only_the_gains_are_fitted_one_for_each_channel() -> None:
    network = with_gains(small())
    free = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert sorted(parameter.numel() for parameter in free.values()) == [4, 5]
    network(torch.rand(1, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in free.values())
    assert all(parameter.grad is None for name, parameter in network.named_parameters() if name not in free)


def test_a_gain_is_that_of_one_channel_of_the_output() -> None:
    for layer in (nn.Conv2d(3, 4, 3, bias=False), nn.ConvTranspose2d(3, 4, 2, bias=False)):
        x = torch.rand(1, 3, 8, 8)
        plain = layer(x)
        with_gains(layer)
        with torch.no_grad():
            layer.get_parameter("parametrizations.weight.0.gains").view(-1)[2] = 3
        found = layer(x)
        assert torch.allclose(found[:, 2], 3 * plain[:, 2], atol=1e-6)
        assert torch.equal(found[:, :2], plain[:, :2])


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(SettingsError, match="Linear has none"):
        with_gains(nn.Linear(3, 3))
