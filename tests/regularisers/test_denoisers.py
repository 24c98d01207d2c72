import sys

import pytest
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import denoisers

DENOISERS = sorted(name for name in catalogue().entries("denoisers") if name != "trained")  # which needs a file


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Extras that are not there are skipped."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name == "bm3d":
        pytest.importorskip("bm3d")
    if name and any(
        catalogue().get("weights", needed).here() is None for needed in catalogue().entries("denoisers")[name].needs
    ):
        pytest.skip(f"the weights of {name} are not installed")


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_noise_is_removed(name: str, channels: int, photograph: Tensor) -> None:
    large = torch.nn.functional.interpolate(photograph, scale_factor=2, mode="bicubic").clamp(0, 1)
    clean = large.repeat(1, 2, 1, 1)[:, :channels]
    noisy = clean + 0.1 * torch.randn(clean.shape)
    found = catalogue().get("denoisers", name)(noisy, 0.1)
    assert found.shape == clean.shape
    assert found.dtype == clean.dtype
    assert metrics.psnr(found, clean) > metrics.psnr(noisy, clean) + 2


@pytest.mark.parametrize("name", DENOISERS)
def test_a_clean_image_without_noise_is_nearly_left_alone(name: str, photograph: Tensor) -> None:
    if name == "median":
        return  # it knows two windows, and removes what is smaller at any level
    assert metrics.psnr(catalogue().get("denoisers", name)(photograph, 0.0), photograph) > 45


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(SettingsError, match=r"pip install 'hybrid-dip\[bm3d\]'"):
        denoisers.bm3d(torch.rand(1, 1, 16, 16), 0.1)


def test_nlm_of_a_grey_image_is_scikit_images(photograph: Tensor) -> None:
    noisy = photograph[:, :1] + 0.1 * torch.randn(photograph[:, :1].shape)
    plane = noisy[0, 0].double().numpy()
    expected = denoise_nl_means(plane, patch_size=5, patch_distance=6, h=0.08, sigma=0.1)
    torch.testing.assert_close(denoisers.nlm(noisy, 0.1)[0, 0].double(), torch.from_numpy(expected), atol=1e-6, rtol=0)


def test_nlm_channels_is_that_of_deepreds_code(photograph: Tensor) -> None:
    noisy = photograph + 0.1 * torch.randn(photograph.shape)
    planes = [denoise_nl_means(plane.double().numpy(), patch_size=5, patch_distance=6, h=0.06, sigma=0.1) for plane in noisy[0]]
    found = denoisers.nlm_channels(noisy, 0.1)[0].double()
    torch.testing.assert_close(found, torch.stack([torch.from_numpy(plane) for plane in planes]), atol=1e-6, rtol=0)


def test_bm3d_is_the_packages(photograph: Tensor) -> None:
    package = pytest.importorskip("bm3d")
    noisy = photograph + 0.1 * torch.randn(photograph.shape)
    grey = torch.from_numpy(package.bm3d(noisy[0, 0].double().numpy(), 0.1))
    colour = torch.from_numpy(package.bm3d_rgb(noisy[0].movedim(0, -1).double().numpy(), 0.1))
    torch.testing.assert_close(denoisers.bm3d(noisy[:, :1], 0.1)[0, 0].double(), grey, atol=1e-6, rtol=0)
    torch.testing.assert_close(denoisers.bm3d(noisy, 0.1)[0].movedim(0, -1).double(), colour, atol=1e-6, rtol=0)
