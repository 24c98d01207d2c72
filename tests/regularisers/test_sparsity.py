import numpy as np
import pytest
import pywt
import torch
from scipy.fft import dctn

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import BlockDCT, HyperLaplacian, Wavelet

SHARP = 1e-9
# One pixel of 4x4 raised by 1.
DOT = torch.zeros(1, 1, 4, 4)
DOT[0, 0, 0, 0] = 1.0


def test_wavelet_by_hand() -> None:
    # Haar's three details of the block are 1/2 each, all others 0; 16 pixels.
    assert float(Wavelet("haar", levels=1, epsilon=SHARP)(DOT)) == pytest.approx(1.5 / 16, rel=1e-5)
    # At the second level the means are 1/2, 0, 0, 0: three details of 1/4.
    assert float(Wavelet("haar", levels=2, epsilon=SHARP)(DOT)) == pytest.approx((1.5 + 0.75) / 16, rel=1e-5)


def test_wavelet_against_pywavelets() -> None:
    x = torch.rand(1, 1, 65, 80, dtype=torch.float64)
    _, *details = pywt.wavedec2(x[0, 0].numpy(), "db4", mode="reflect", level=3)
    means = [np.abs(part).mean() / 4**level for level, parts in enumerate(details[::-1], start=1) for part in parts]
    assert float(Wavelet("db4", levels=3, epsilon=SHARP)(x)) == pytest.approx(sum(means), rel=1e-6)


def test_dct_by_hand() -> None:
    x = DOT[..., :2, :2]
    assert float(BlockDCT(size=2, stride=2, epsilon=SHARP)(x)) == pytest.approx(1.5 / 4, rel=1e-5)


def test_dct_against_scipy() -> None:
    x = torch.rand(1, 2, 16, 24, dtype=torch.float64)
    blocks = x.numpy().reshape(2, 2, 8, 3, 8).swapaxes(2, 3)
    coefficients = np.abs(dctn(blocks, axes=(-2, -1), norm="ortho"))
    coefficients[..., 0, 0] = 0
    assert float(BlockDCT(size=8, stride=8, epsilon=SHARP)(x)) == pytest.approx(coefficients.mean(), rel=1e-6)


def test_hyper_laplacian_by_hand() -> None:
    assert float(HyperLaplacian(power=0.8, epsilon=1e-6)(0.5 * DOT)) == pytest.approx(2 * 0.5**0.8 / 16, rel=1e-3)
    assert float(HyperLaplacian(power=2, epsilon=0.1)(0.5 * DOT)) == pytest.approx(2 * 0.25 / 16, rel=1e-4)


def test_options_out_of_range() -> None:
    with pytest.raises(SettingsError, match="no discrete wavelet 'db0'"):
        Wavelet("db0")
    with pytest.raises(SettingsError, match="40 taps: too many for 16x16"):
        Wavelet("db20")(torch.rand(1, 1, 16, 16))
    with pytest.raises(SettingsError, match="stride from 1 to the size"):
        BlockDCT(size=4, stride=5)
    with pytest.raises(SettingsError, match=r"power in \(0, 2\]"):
        HyperLaplacian(power=0)
