import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import operators, resampling

OPERATORS: dict[str, tuple[nn.Module, tuple[int, int, int, int]]] = {
    "identity": (operators.Identity(), (1, 3, 17, 19)),
    "blur": (operators.Blur(torch.rand(5, 4)), (1, 3, 17, 19)),
    "mosaic": (operators.Mosaic("GRBG"), (1, 3, 17, 19)),
    **{
        f"{kernel} x{factor}": (operators.Downsample(factor, kernel), (1, 2, 12 * factor, 13 * factor))  # type: ignore[arg-type]
        for kernel in resampling.KERNELS
        for factor in (1, 2, 3, 4)
    },
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_adjoint_passes_the_dot_product_test(name: str) -> None:
    forward, shape = OPERATORS[name]
    x = torch.randn(shape, dtype=torch.float64)
    y = torch.randn_like(forward(x))
    left = float((forward(x) * y).sum())
    right = float((x * operators.adjoint(forward, y, shape)).sum())
    assert left == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_linear(name: str) -> None:
    forward, shape = OPERATORS[name]
    a, b = torch.randn(2, *shape, dtype=torch.float64)
    torch.testing.assert_close(forward(2 * a - b), 2 * forward(a) - forward(b))


@pytest.mark.parametrize("kernel", resampling.KERNELS)
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_kernels_sum_to_one_and_keep_a_constant(kernel: resampling.Kernel, factor: int) -> None:
    operator = operators.Downsample(factor, kernel)
    assert float(operator.kernel_2d.sum()) == pytest.approx(1, abs=1e-5)
    flat = torch.full((1, 3, 6 * factor, 7 * factor), 0.3)
    torch.testing.assert_close(operator(flat), torch.full((1, 3, 6, 7), 0.3))


@pytest.mark.parametrize("kernel", resampling.KERNELS)
@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_samples_sit_where_the_phase_says(kernel: resampling.Kernel, factor: int) -> None:
    """A symmetric filter keeps a ramp, so the small image reads off the sampling positions; odd factors lose no row."""
    operator = operators.Downsample(factor, kernel)
    ramp = torch.arange(12.0 * factor).expand(1, 1, 12 * factor, -1)
    small = operator(ramp)
    assert small.shape[-2:] == (12, 12)
    expected = torch.arange(12.0) * factor + operator.phase * (factor - 1)
    torch.testing.assert_close(small[0, 0, 0, 4:8], expected[4:8], atol=1e-3, rtol=0)


def test_box_is_average_pooling() -> None:
    x = torch.rand(1, 3, 12, 15)
    torch.testing.assert_close(operators.Downsample(3, "box")(x), F.avg_pool2d(x, 3))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_is_antialiased_resizing_inside(factor: int) -> None:
    x = torch.rand(1, 1, 16 * factor, 16 * factor)
    expected = F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)
    torch.testing.assert_close(operators.Downsample(factor, "bicubic")(x)[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3])


def test_sizes_that_do_not_divide_are_rounded_up() -> None:
    assert operators.Downsample(4)(torch.rand(1, 1, 17, 20)).shape == (1, 1, 5, 5)


def test_blur_is_a_convolution() -> None:
    import scipy.signal

    psf, x = torch.rand(3, 5), torch.rand(1, 1, 20, 21)
    expected = scipy.signal.convolve2d(x[0, 0].numpy(), (psf / psf.sum()).numpy(), mode="same")
    found = operators.Blur(psf)(x)[0, 0].numpy()
    assert np.array_equal(operators.Blur(psf.numpy())(x)[0, 0].numpy(), found)
    assert np.allclose(found[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)


def test_a_gaussian_psf_has_its_deviation() -> None:
    psf = operators.gaussian_psf(1.5)
    position = torch.arange(len(psf)) - len(psf) // 2
    assert float(psf.sum()) == pytest.approx(1, abs=1e-6)
    assert float((psf.sum(0) * position**2).sum()) == pytest.approx(1.5**2, rel=0.03)


@pytest.mark.parametrize(("pattern", "first", "second", "third", "fourth"), [("RGGB", 0, 1, 1, 2), ("GBRG", 1, 2, 0, 1)])
def test_a_mosaic_takes_one_colour_a_pixel(pattern: str, first: int, second: int, third: int, fourth: int) -> None:
    x = torch.rand(1, 3, 5, 7)
    y = operators.Mosaic(pattern)(x)  # type: ignore[arg-type]
    assert y.shape == (1, 1, 5, 7)
    assert torch.equal(y[0, 0, ::2, ::2], x[0, first, ::2, ::2])
    assert torch.equal(y[0, 0, ::2, 1::2], x[0, second, ::2, 1::2])
    assert torch.equal(y[0, 0, 1::2, ::2], x[0, third, 1::2, ::2])
    assert torch.equal(y[0, 0, 1::2, 1::2], x[0, fourth, 1::2, 1::2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: operators.Downsample(0), "at least 1"),
        (lambda: operators.Downsample(4, "lanczos4"), "did you mean 'lanczos"),  # type: ignore[arg-type]
        (lambda: operators.Downsample(4, phase=2), "phase"),
        (lambda: operators.Downsample(4, "box", phase=0), "whole blocks"),
        (lambda: operators.Blur(torch.zeros(3, 3)), "sum above 0"),
        (lambda: operators.Blur(torch.tensor([[1.0, -1.0]])), "at least 0"),
        (lambda: operators.gaussian_psf(0), "above 0"),
        (lambda: operators.gaussian_psf(1e5), "at most"),
        (lambda: operators.Mosaic("RGBG"), "Bayer pattern"),  # type: ignore[arg-type]
    ],
)
def test_bad_options(make: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()  # type: ignore[operator]


def test_adjoint_of_a_known_matrix() -> None:
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def forward(x: Tensor) -> Tensor:
        return matrix @ x

    assert operators.adjoint(forward, torch.tensor([1.0, 0.0, 1.0]), (2,)).tolist() == [6, 8]
