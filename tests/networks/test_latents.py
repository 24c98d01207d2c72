import math

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.networks import latents


def test_uniform_is_on_zero_to_scale() -> None:
    z = latents.uniform(32, (40, 30))
    assert z.shape == (1, 32, 40, 30)
    assert 0 <= float(z.min()) < 0.001
    assert 0.099 < float(z.max()) <= 0.1
    assert float(z.std()) == pytest.approx(0.1 / math.sqrt(12), rel=0.01)


def test_normal_has_the_deviation_scale() -> None:
    assert float(latents.normal(32, (40, 30), scale=0.3).std()) == pytest.approx(0.3, rel=0.01)


def test_meshgrid_rises_along_width_then_height() -> None:
    z = latents.meshgrid((3, 5))
    assert z[0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert z[0, 1, :, 0].tolist() == [0, 0.5, 1]


def test_fourier_features_by_hand() -> None:
    z = latents.fourier((2, 5), frequencies=(1, 2))
    assert z.shape == (1, 8, 2, 5)
    # sin of 2 pi x, 2 pi y, 4 pi x, 4 pi y, then cos; at x = 1/4, y = 0
    assert z[0, :, 0, 1].tolist() == pytest.approx([1, 0, 0, 0, 0, 1, -1, 1], abs=1e-6)


def test_an_image_is_copied() -> None:
    guide = torch.rand(1, 3, 4, 4)
    z = latents.image(guide)
    z.zero_()
    assert float(guide.sum()) > 0


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(SettingsError):
        latents.uniform(0, (4, 4))
    with pytest.raises(SettingsError):
        latents.image(torch.rand(3, 4, 4))
