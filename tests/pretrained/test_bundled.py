import pytest
import torch

from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import Denoiser, denoiser_of


@pytest.fixture
def denoiser() -> Denoiser:
    return denoiser_of(DenoisingNetwork(widths=(8, 8, 8), blocks=1))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 17, 23), (2, 3, 8, 40), (1, 5, 9, 9)])
def test_any_size_and_number_of_channels(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    found = denoiser(x, 0.1)
    assert found.shape == x.shape
    assert bool(torch.isfinite(found).all())


def test_twice_the_image_and_the_noise_is_twice_the_result(denoiser: Denoiser) -> None:
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(denoiser(2 * x, 0.2), 2 * denoiser(x, 0.1), atol=1e-5, rtol=1e-5)


def test_a_channel_is_denoised_as_a_grey_image(denoiser: Denoiser) -> None:
    x = torch.rand(1, 2, 16, 16)
    torch.testing.assert_close(denoiser(x, 0.1)[:, 1:], denoiser(x[:, 1:], 0.1))
    grey = denoiser(x[:, :1].expand(-1, 3, -1, -1), 0.1).mean(1, keepdim=True)
    torch.testing.assert_close(denoiser(x[:, :1], 0.1), grey)


def test_the_level_may_be_a_map(denoiser: Denoiser) -> None:
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(denoiser(x, torch.full((1, 1, 16, 16), 0.1)), denoiser(x, 0.1))
    torch.testing.assert_close(denoiser(x, torch.tensor(0.1)), denoiser(x, 0.1))
    assert not torch.allclose(denoiser(x, torch.linspace(0, 0.3, 16).expand(1, 1, 16, 16)), denoiser(x, 0.1))


def test_the_gradient_reaches_the_image_and_not_the_weights(denoiser: Denoiser) -> None:
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    denoiser(x, 0.1).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    assert all(not parameter.requires_grad for parameter in denoiser.colour.parameters())
