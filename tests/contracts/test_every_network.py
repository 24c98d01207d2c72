"""One list of laws for every network in the catalogue."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from hybrid_dip.recipes.catalogue import catalogue

NETWORKS = sorted(catalogue().entries("networks"))
# Five doublings leave the deep decoder a map of 2x2 for images as small as these.
SMALL: dict[str, dict[str, Any]] = {"decoder": {"channels": (32, 32, 32)}}


def build(name: str, in_channels: int, out_channels: int, size: tuple[int, int], **options: Any) -> nn.Module:
    factory = catalogue().get("networks", name)
    if "size" in inspect.signature(factory).parameters:
        options["size"] = size
    network: nn.Module = factory(in_channels, out_channels, **options)
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "channels"), [((16, 16), 1), ((17, 23), 3), ((33, 64), 5)])
def test_any_size_and_any_number_of_channels(name: str, size: tuple[int, int], channels: int) -> None:
    network = build(name, 7, channels, size)
    output = network(torch.rand(1, 7, *size))
    assert output.shape == (1, channels, *size)
    assert bool(torch.isfinite(output).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    network = build(name, 4, 3, (19, 21))
    network(torch.rand(1, 4, 19, 21)).square().sum().backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert bool(torch.isfinite(parameter.grad).all()), label


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_determines_the_network(name: str) -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        network = build(name, 4, 3, (32, 32))
        outputs.append(network(torch.ones(1, 4, 32, 32) * 0.3))
    torch.testing.assert_close(outputs[0], outputs[1], atol=0, rtol=0)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "pixels"])
def test_the_output_depends_on_the_latent(name: str) -> None:
    size = (64, 64)  # of 32x32 pixels the deep decoder reads a single one, which batch norm takes away
    network = build(name, 4, 3, size)
    one, other = (network(torch.rand(1, 4, *size)) for _ in range(2))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_steps_fit_a_target(name: str, photograph: torch.Tensor) -> None:
    network = build(name, 8, 3, (32, 32), **SMALL.get(name, {}))
    z = torch.rand(1, 8, 32, 32) * 0.1
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss = (network(z) - photograph).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
