from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain import standard_network
from hybrid_dip.networks.convolution import convolution
from hybrid_dip.networks.kernels import winograd
from hybrid_dip.recipes import presets


def direct(x: Tensor, weight: Tensor, bias: Tensor | None, reflect: bool) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect" if reflect else "constant"), weight, bias)


@pytest.mark.parametrize("reflect", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (8, 5), (12, 7)])
def test_convolve_is_the_convolution_with_its_first_and_second_derivatives(reflect: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, *size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, dtype=torch.double, requires_grad=True)
    bias = torch.randn(2, dtype=torch.double, requires_grad=True)
    torch.testing.assert_close(winograd.convolve(x, weight, bias, reflect=reflect), direct(x, weight, bias, reflect))
    torch.testing.assert_close(winograd.convolve(x, weight, None, reflect=reflect), direct(x, weight, None, reflect))
    assert torch.autograd.gradcheck(lambda *a: winograd.convolve(*a, reflect=reflect), (x, weight, bias))
    assert torch.autograd.gradgradcheck(lambda *a: winograd.convolve(*a, reflect=reflect), (x, weight, bias))


def test_the_gradient_of_the_input_alone() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3)
    winograd.convolve(x, weight, None, reflect=True).sum().backward()
    expected = torch.autograd.grad(direct(x, weight, None, True).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, atol=1e-4, rtol=1e-4)


def test_it_pays_only_where_it_can_be_used() -> None:
    x, weight = torch.zeros(1, 64, 64, 64), torch.zeros(64, 64, 3, 3)
    assert winograd.pays(x, weight)
    assert not winograd.pays(x.double(), weight.double())
    assert not winograd.pays(x.expand(2, -1, -1, -1), weight)
    assert not winograd.pays(x[:, :, :62], weight)
    assert not winograd.pays(x[:, :, :32], weight)
    assert not winograd.pays(x[:, :32], weight[:, :32])
    assert not winograd.pays(x, torch.zeros(64, 64, 5, 5))
    assert not winograd.pays(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(x, weight)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("padding", ["zero", "reflection"])
def test_the_layer_gives_what_torchs_layer_gives(kernel: int, stride: int, padding: str) -> None:
    torch.manual_seed(0)
    layer = convolution(64, 64, kernel, stride, padding=padding)
    mode = {"zero": "zeros", "reflection": "reflect"}[padding]
    torchs = nn.Conv2d(64, 64, kernel, stride, kernel // 2, padding_mode=mode)
    torchs.load_state_dict(layer.state_dict())
    x = torch.randn(1, 64, 64, 64)
    torch.testing.assert_close(layer(x), torchs(x), atol=1e-5, rtol=1e-5)
    batch = torch.randn(2, 64, 16, 16)
    torch.testing.assert_close(layer(batch), torchs(batch), atol=1e-5, rtol=1e-5)


def gradients_of_a_step(make: Callable[[int, int], nn.Module], seed: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(seed)
    network = make(32, 3).to(dtype)
    z, y = torch.rand(1, 32, 64, 64) * 0.1, torch.rand(1, 3, 64, 64)
    F.mse_loss(network(z.to(dtype)), y.to(dtype)).backward()
    return [p.grad.double() for p in network.parameters() if p.grad is not None]


def test_gradients_of_a_step_are_the_plain_network_s(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = gradients_of_a_step(standard_network, 0, torch.double)
    in_single, taken = winograd.pays, []

    def pays(x: Tensor, weight: Tensor) -> bool:
        taken.append(in_single(x.float(), weight.float()))
        return taken[-1]

    monkeypatch.setattr(winograd, "pays", pays)
    ours = gradients_of_a_step(presets.STANDARD, 0, torch.double)
    assert any(taken)
    whole = torch.cat([g.flatten() for g in plain]).norm()
    for one, other in zip(plain, ours, strict=True):
        if one.norm() < 1e-12 * whole:  # a bias before batch norm, whose gradient is zero but for rounding
            assert other.norm() < 1e-12 * whole
        else:
            assert (one - other).norm() <= 1e-9 * one.norm()


def test_single_precision_is_as_exact_as_the_plain_network() -> None:
    errors = []
    for make in (standard_network, presets.STANDARD):
        errors.append(0.0)
        for seed in range(3):
            exact, rounded = (
                torch.cat([g.flatten() for g in gradients_of_a_step(one, seed, dtype)])
                for one, dtype in ((standard_network, torch.double), (make, torch.float))
            )
            errors[-1] += float((rounded - exact).norm() / exact.norm()) / 3
    plain, ours = errors
    assert plain < 0.01, "batch norm over the four pixels of the deepest map blows rounding up"
    assert ours <= 2 * plain
