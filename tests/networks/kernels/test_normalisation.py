import pytest
import torch
from torch import Tensor, nn

from hybrid_dip.networks.kernels import normalisation
from hybrid_dip.networks.kernels.normalisation import BatchNorm


def pair(dtype: torch.dtype = torch.double) -> tuple[BatchNorm, nn.BatchNorm2d]:
    """The same layer, ours and torch's, with weights of its own."""
    ours, usual = BatchNorm(3).to(dtype), nn.BatchNorm2d(3).to(dtype)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    usual.load_state_dict(ours.state_dict())
    return ours, usual


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (1, 3, 1, 2), (2, 3, 4, 6)])
def test_batch_norm_is_torch_s_with_gradients_and_running_statistics(shape: tuple[int, ...]) -> None:
    ours, usual = pair()
    results = []
    for layer in (ours, usual):
        torch.manual_seed(0)
        for scale in (1.0, 5.0):  # what runs shows at the second call only
            x = (scale * torch.randn(shape, dtype=torch.double) + scale).requires_grad_()
            y = layer(x)
            gradients = torch.autograd.grad(y, (x, layer.weight, layer.bias), torch.randn_like(y))
        results.append([y, *gradients, *layer.buffers()])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    assert results[0][-1] == 2


def test_it_has_second_derivatives() -> None:
    ours, _ = pair()
    assert torch.autograd.gradgradcheck(ours, torch.randn(1, 3, 2, 3, dtype=torch.double, requires_grad=True))


def test_evaluation_takes_the_running_statistics() -> None:
    ours, usual = pair(torch.float32)
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(ours.eval()(x), usual.eval()(x))


def test_one_pixel_has_no_deviation() -> None:
    ours, _ = pair(torch.float32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours(torch.randn(1, 3, 1, 1))


def test_maps_that_lie_by_pixel_and_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, usual = pair(torch.float32)
    x = torch.randn(1, 3, 4, 6)
    torch.testing.assert_close(ours(x.contiguous(memory_format=torch.channels_last)), usual(x))
    assert normalisation.pays(x)
    assert not normalisation.pays(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not normalisation.pays(x)
        found: Tensor = ours(x)
    torch.testing.assert_close(found, usual(x))
