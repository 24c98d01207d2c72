from pathlib import Path

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import GuideCorrelation, GuideGradients, GuideHistogram, GuidePixels

from .test_variation import CORNER, minimised


def test_by_hand() -> None:
    flat = torch.full((1, 1, 3, 3), 0.25)
    assert float(GuidePixels(flat)(CORNER)) == pytest.approx((0.75**2 + 8 * 0.25**2) / 9)
    assert float(GuideGradients(flat)(CORNER)) == pytest.approx(2 / 9)
    # Sorted: eight zeros and a one, against nine quarters.
    assert float(GuideHistogram(flat)(CORNER)) == pytest.approx((0.75**2 + 8 * 0.25**2) / 9)


def test_what_each_does_not_see(photograph: Tensor) -> None:
    brighter, shuffled = photograph + 0.1, photograph.flip(-1)
    assert float(GuideGradients(photograph)(brighter)) == pytest.approx(0, abs=1e-10)
    assert float(GuideHistogram(photograph)(shuffled)) == pytest.approx(0, abs=1e-10)
    correlation = GuideCorrelation(photograph, epsilon=1e-3)
    assert float(correlation(0.5 - 0.4 * photograph)) < 0.05
    assert float(correlation(torch.rand(photograph.shape))) > 0.7


def test_correlation_against_its_formula(photograph: Tensor) -> None:
    x = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    guide = photograph[:, :1, :5, :5].double()
    # A window that covers the whole image from everywhere.
    centred = [image - image.mean() for image in (x, guide)]
    variances = [image.square().mean() + 1e-4 for image in centred]
    expected = 1 - (centred[0] * centred[1]).mean().square() / (variances[0] * variances[1])
    assert float(GuideCorrelation(guide, window=11, epsilon=0.01)(x)) == pytest.approx(float(expected), rel=1e-9)


def test_prox_against_brute_force() -> None:
    x, guide = torch.rand(2, 1, 1, 3, 4, dtype=torch.float64)
    regulariser = GuidePixels(guide)
    expected = minimised(x, lambda u: (u - x).square().sum() / 2 + 5.0 * regulariser(u))
    torch.testing.assert_close(regulariser.prox(x, 5.0), expected, atol=1e-6, rtol=0)


def test_a_guide_from_a_file(photograph: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "guide.png"
    hd.save_image(photograph[:, :1], path)
    found = spec.term(f"guide-pixels:image={path}@0.1", catalogue()).regulariser
    assert float(found(photograph[:, :1].expand(-1, 3, -1, -1))) < 1e-5  # type: ignore[call-arg, arg-type]


def test_what_is_wrong_is_said(photograph: Tensor) -> None:
    with pytest.raises(SettingsError, match="'guide-pixels' needs an image"):
        GuidePixels()(photograph)
    with pytest.raises(SettingsError, match=r"'guide-gradients' is 16x16; .* must be 32x32"):
        GuideGradients(photograph[..., :16, :16])(photograph)
    with pytest.raises(SettingsError, match=r"\(1, 1, h, w\)"):
        GuideHistogram(photograph)(photograph[:, :1])
    with pytest.raises(SettingsError, match="odd window"):
        GuideCorrelation(photograph, window=4)
