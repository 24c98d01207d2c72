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
        pytest.importorskip("deepinv")
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
    monkeypatch.setitem(sys.modules, "deepinv.models", None)
    denoisers._bm3d.cache_clear()
    with pytest.raises(SettingsError, match=r"'bm3d' needs DeepInverse: pip install 'hybrid-dip\[deepinv\]'"):
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


def test_bm3d_is_deepinvs(photograph: Tensor) -> None:
    models = pytest.importorskip("deepinv.models")
    noisy = photograph[:, :1] + 0.1 * torch.randn(photograph[:, :1].shape)
    expected = models.BM3D(use_legacy=False)(noisy, 0.1)
    torch.testing.assert_close(denoisers.bm3d(noisy.double(), torch.tensor(0.1)), expected.double(), atol=1e-5, rtol=0)  # type: ignore[arg-type]


def test_bm3d_of_colours_goes_by_brightness(photograph: Tensor) -> None:
    pytest.importorskip("deepinv")
    torch.testing.assert_close(denoisers.OPPONENT @ denoisers.OPPONENT.T, torch.eye(3), atol=1e-6, rtol=0)
    grey = photograph.mean(1, keepdim=True)
    noisy = grey.expand(1, 3, -1, -1) + 0.1 * torch.randn(photograph.shape)
    alone = torch.cat([denoisers.bm3d(noisy[:, channel : channel + 1], 0.1) for channel in range(3)], 1)
    together = denoisers.bm3d(noisy, 0.1)
    assert metrics.psnr(together, grey.expand(1, 3, -1, -1)) > metrics.psnr(alone, grey.expand(1, 3, -1, -1)) + 1
