import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hybrid_dip.networks.kernels import upsampling
from hybrid_dip.networks.kernels.upsampling import double, doubling_layer


def by_torch(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (2, 3, 1, 5), (1, 1, 1, 1)])
def test_doubled_is_torch_s_with_its_gradients(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.double, requires_grad=True)
    found, expected = double(x), by_torch(x)
    torch.testing.assert_close(found, expected)
    pulled = torch.randn_like(expected)
    one, other = (torch.autograd.grad(y, x, pulled)[0] for y in (found, expected))
    torch.testing.assert_close(one, other)
    assert torch.autograd.gradgradcheck(double, x)


@pytest.mark.parametrize("axis", [2, 3])
def test_both_ways_to_gather_are_adjoint_to_spreading(axis: int) -> None:
    x, pulled = torch.randn(1, 2, 3, 4, dtype=torch.double), torch.randn(1, 2, 6, 8, dtype=torch.double)
    pulled = pulled.narrow(5 - axis, 0, x.shape[5 - axis])  # a view, as the gradient of a concatenation is
    spread = upsampling._spread(x, axis)
    for gathered in (upsampling._gather(pulled, axis), upsampling._gather_by_index(pulled, axis)):
        torch.testing.assert_close((spread * pulled).sum(), (x * gathered).sum())


def test_a_pixel_is_three_quarters_of_the_nearest_one() -> None:
    assert double(torch.tensor([[[[0.0, 4.0, 8.0]]]]))[0, 0, 0].tolist() == [0, 1, 3, 5, 7, 8]


@pytest.mark.parametrize("how", ["bilinear", "nearest"])
def test_the_layer_keeps_precision_and_order_of_its_input(how: str) -> None:
    layer = doubling_layer(how)
    plain = torch.randn(1, 3, 4, 6)
    for x in (plain, plain.bfloat16(), plain.double(), plain.contiguous(memory_format=torch.channels_last)):
        found = layer(x)
        torch.testing.assert_close(found, F.interpolate(x, scale_factor=2, mode=how))
        assert found.dtype == x.dtype
    assert upsampling.pays(plain)
    assert not upsampling.pays(plain.bfloat16())
    assert not upsampling.pays(plain.contiguous(memory_format=torch.channels_last))
