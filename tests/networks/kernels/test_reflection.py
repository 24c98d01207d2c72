import pytest
import torch
from torch.nn import functional as F

from hybrid_dip.networks.kernels import reflection

ORDERS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("margin", [1, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_padding_is_torch_s_in_the_order_of_the_input(channels: int, margin: int, order: torch.memory_format) -> None:
    x = torch.randn(2, channels, 5, 4, dtype=torch.double).contiguous(memory_format=order).requires_grad_()
    padded = reflection.pad(x, margin)
    expected = F.pad(x, (margin,) * 4, mode="reflect")
    assert torch.equal(padded, expected)
    assert padded.is_contiguous(memory_format=order)
    pulled = torch.randn(expected.shape, dtype=torch.double)
    found, usual = (torch.autograd.grad(y, x, pulled.contiguous(memory_format=order))[0] for y in (padded, expected))
    torch.testing.assert_close(found, usual)
    assert found.is_contiguous(memory_format=order)
    assert torch.autograd.gradcheck(lambda x: reflection.pad(x, margin), x)
    assert torch.autograd.gradgradcheck(lambda x: reflection.pad(x, margin), x)


def test_in_half_precision_numbers_are_moved_as_they_are() -> None:
    x = torch.randn(1, 16, 6, 7).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    x.data[0, 0, 0, 0] = float("nan")
    padded = reflection.pad(x, 1)
    expected = F.pad(x.detach().float(), (1,) * 4, mode="reflect")
    assert torch.equal(padded.float().nan_to_num(7), expected.nan_to_num(7))
    padded.sum().backward()
    counted = torch.ones(1, 1, 6, 7, requires_grad=True)
    F.pad(counted, (1,) * 4, mode="reflect").sum().backward()
    assert torch.equal(x.grad.float(), counted.grad.expand(1, 16, 6, 7)), "how often each pixel is shown"


def test_channels_cut_out_of_more_are_padded_too() -> None:
    whole = torch.randn(1, 5, 6, 7).contiguous(memory_format=torch.channels_last)
    cut = whole[:, :4].requires_grad_()
    padded, expected = reflection.pad(cut, 1), F.pad(cut, (1,) * 4, mode="reflect")
    assert torch.equal(padded, expected)
    pulled = torch.randn(1, 5, 8, 9).contiguous(memory_format=torch.channels_last)[:, 1:]
    one, other = (torch.autograd.grad(y, cut, pulled)[0] for y in (padded, expected))
    torch.testing.assert_close(one, other)


def test_on_a_cpu_it_is_for_large_maps() -> None:
    assert not reflection.pays(torch.zeros(1, 3, 8, 8))
    assert reflection.pays(torch.zeros(1, 32, 128, 128))
