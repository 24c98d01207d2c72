import sys

import pytest
import torch
from torch import Tensor

from hybrid_dip import denoisers, metrics
from hybrid_dip.catalogue import catalogue
from hybrid_dip.errors import SettingsError

DENOISERS = sorted(catalogue().entries("denoisers"))


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_noise_is_removed(name: str, channels: int, photograph: Tensor) -> None:
    if name == "bm3d":
        pytest.importorskip("bm3d")
    large = torch.nn.functional.interpolate(photograph, scale_factor=2, mode="bicubic").clamp(0, 1)
    clean = large.repeat(1, 2, 1, 1)[:, :channels]
    noisy = clean + 0.1 * torch.randn(clean.shape)
    found = catalogue().get("denoisers", name)(noisy, 0.1)
    assert found.shape == clean.shape
    assert found.dtype == clean.dtype
    assert metrics.psnr(found, clean) > metrics.psnr(noisy, clean) + 2


@pytest.mark.parametrize("name", DENOISERS)
def test_a_clean_image_without_noise_is_nearly_left_alone(name: str, photograph: Tensor) -> None:
    if name == "bm3d":
        pytest.importorskip("bm3d")
    if name == "median":
        return  # it knows two windows, and removes what is smaller at any level
    assert metrics.psnr(catalogue().get("denoisers", name)(photograph, 0.0), photograph) > 45


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(SettingsError, match=r"pip install 'hybrid-dip\[bm3d\]'"):
        denoisers.bm3d(torch.rand(1, 1, 16, 16), 0.1)
