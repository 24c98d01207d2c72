"""One list of laws for every regulariser in the catalogue."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.catalogue import catalogue

REGULARISERS = sorted(catalogue().entries("regularisers"))


def energy_and_gradient(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = catalogue().get("regularisers", name)()(x)
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("kind", ["constant", "noise"])
def test_scalar_and_finite(name: str, channels: int, kind: str) -> None:
    x = torch.full((1, channels, 17, 23), 0.5) if kind == "constant" else torch.rand(1, channels, 17, 23)
    value, gradient = energy_and_gradient(name, x)
    assert value.shape == ()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", REGULARISERS)
def test_gradcheck(name: str) -> None:
    x = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(catalogue().get("regularisers", name)(), x)


@pytest.mark.parametrize("name", REGULARISERS)
def test_a_mean_per_pixel(name: str, photograph: Tensor) -> None:
    """The same texture, four times as many pixels: the energy stays within a tenth."""
    tile = F.interpolate(photograph, (32, 32))
    small, _ = energy_and_gradient(name, tile)
    large, _ = energy_and_gradient(name, torch.cat([torch.cat([tile, tile.flip(-1)], -1)] * 2, -2))
    assert float(large) == pytest.approx(float(small), rel=0.1)


@pytest.mark.parametrize("name", REGULARISERS)
def test_the_same_value_twice_and_in_bfloat16(name: str) -> None:
    x = torch.rand(1, 3, 16, 16)
    regulariser = catalogue().get("regularisers", name)()
    assert torch.equal(regulariser(x), regulariser(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(regulariser(x)) == pytest.approx(float(regulariser(x.float())), rel=0.05)
