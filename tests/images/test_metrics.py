import math

import pytest
import torch
from PIL import Image

from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics


def test_psnr_by_hand() -> None:
    x, reference = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)
    assert metrics.psnr(x, reference) == pytest.approx(20.0, abs=1e-5)
    assert metrics.psnr(255 * x, 255 * reference, data_range=255) == pytest.approx(20.0, abs=1e-5)
    assert metrics.psnr(x, x) == math.inf


def test_ssim_agrees_with_torchmetrics(photograph: torch.Tensor) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure  # three seconds, in one process

    x = photograph + 0.1 * torch.randn_like(photograph)
    for height, width in ((11, 13), (32, 24)):
        pair = [image[..., :height, :width].double() for image in (x, photograph)]
        assert metrics.ssim(*pair) == pytest.approx(
            float(structural_similarity_index_measure(*pair, data_range=1.0)), abs=1e-12
        )
        scaled = metrics.ssim(255 * pair[0], 255 * pair[1], data_range=255)
        assert scaled == pytest.approx(metrics.ssim(*pair), abs=1e-12)
    assert metrics.ssim(photograph, photograph) == pytest.approx(1.0)


def test_ssim_by_hand() -> None:
    """Of two constant images only the luminance differs; of several pairs the mean counts."""
    x, reference = torch.full((2, 3, 16, 16), 0.5), torch.full((2, 3, 16, 16), 0.6)
    luminance = (2 * 0.5 * 0.6 + 0.01**2) / (0.5**2 + 0.6**2 + 0.01**2)
    assert metrics.ssim(x, reference) == pytest.approx(luminance, abs=1e-7)
    reference[1] = x[1]
    assert metrics.ssim(x, reference) == pytest.approx((luminance + 1) / 2, abs=1e-7)


def test_ms_ssim_by_hand() -> None:
    """Of two constant images only the luminance differs, which counts at the coarsest scale, to the power 0.1333."""
    x, reference = torch.full((1, 3, 176, 176), 0.5), torch.full((1, 3, 176, 176), 0.6)
    luminance = (2 * 0.5 * 0.6 + 0.01**2) / (0.5**2 + 0.6**2 + 0.01**2)
    assert metrics.ms_ssim(x, reference) == pytest.approx(luminance**0.1333, abs=1e-5)
    assert metrics.ms_ssim(reference, reference) == pytest.approx(1.0)
    with pytest.raises(SettingsError, match="at least 176x176"):
        metrics.ms_ssim(x[..., :175], reference[..., :175])


def test_luma_of_white_black_and_red() -> None:
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T.view(1, 3, 1, 3)
    assert (metrics.luma(colours) * 255).flatten().tolist() == pytest.approx([235, 16, 81.481], abs=1e-3)


def test_psnr_y_leaves_out_the_border() -> None:
    x, reference = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    inner = (..., slice(4, 12), slice(4, 12))
    x[inner] = reference[inner]
    assert metrics.psnr_y(x, reference) == math.inf
    assert metrics.psnr_y(x, reference, border=3) < 30


@pytest.mark.parametrize("border", [-1, 8])
def test_psnr_y_needs_a_border_that_leaves_something(border: int) -> None:
    with pytest.raises(SettingsError, match="border"):
        metrics.psnr_y(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), border)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim, metrics.psnr_y])
def test_shapes_must_agree(metric: object) -> None:
    with pytest.raises(SettingsError, match="one shape"):
        metric(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17))  # type: ignore[operator]


def test_images_of_every_kind_are_compared(photograph: torch.Tensor) -> None:
    reference = (255 * photograph).round().byte()
    array = reference[0].permute(1, 2, 0).numpy()
    worse = (0.9 * photograph).clamp(0, 1)
    for metric in (metrics.psnr, metrics.ssim, metrics.psnr_y):
        expected = metric(worse, reference / 255)
        for given in (reference, array, Image.fromarray(array), array / 255.0):
            assert metric(worse, given) == pytest.approx(expected, abs=1e-5)
