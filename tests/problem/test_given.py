"""Images on a wrong scale, noise levels in wrong units, complex and signed data: refused, asked about, or kept as they are."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPWarning, SettingsError
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.presets import quick
from hybrid_dip.restoring.restore import restore

WRONG = {
    "whole numbers": (lambda x: (255 * x).long(), "whole numbers of the type int64, whose white is not known"),
    "0 to 255": (lambda x: 255 * x, "values from .* to .*, .* in the mean; an image in"),
    "dark, 0 to 255": (lambda x: 255 * x * (x > x.amax() - 0.01), "divide by the largest value"),
    "0 to 10": (lambda x: 10 * x, "in the mean"),
    "16 bits": (lambda x: 65535 * x, "in the mean"),
    "dark, -1 to 1": (lambda x: 2 * (x / 4) - 1, "in the mean"),
    "complex": (lambda x: x + 0.1j * x, "is complex .* as two channels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_images_on_another_scale_are_refused(name: str, photograph: Tensor) -> None:
    change, said = WRONG[name]
    for make in (tasks.jpeg, tasks.denoise, lambda y: tasks.super_resolve(y, factor=2)):
        with pytest.raises(SettingsError, match=said):
            make(change(photograph))


def half(y: Tensor) -> Tensor:
    """A mask of scattered pixels, half of them known."""
    return (torch.rand(1, 1, *y.shape[-2:], generator=torch.Generator().manual_seed(7)) < 0.5).float()


@pytest.mark.parametrize(
    "make",
    [tasks.jpeg, lambda y: tasks.inpaint(y, half(y)), lambda y: tasks.super_resolve(y, factor=2), tasks.demosaic],
)
def test_an_image_from_minus_one_to_one_is_asked_about(make: Callable[[Tensor], Task], photograph: Tensor) -> None:
    with pytest.warns(HybridDIPWarning, match=r"is it in \[-1, 1\]"):
        make(2 * photograph - 1)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_strong_noise_is_no_other_scale(level: float) -> None:
    flat = torch.full((1, 3, 32, 32), level)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in (25 / 255, 75 / 255):
            tasks.denoise(degradations.noisy(flat, sigma=sigma).task.observation, sigma=sigma)
        for noise in ({"noise": "poisson", "peak": 1.0}, {"noise": "speckle", "looks": 1.0}):
            degradations.noisy(flat, **noise)  # type: ignore[arg-type]


def test_a_noise_level_in_other_units_is_refused_or_doubted(photograph: Tensor) -> None:
    y = degradations.noisy(photograph, sigma=25 / 255).task.observation
    makes: list[Callable[..., Task]] = [
        tasks.denoise,
        lambda y, sigma: tasks.deblur(y, torch.ones(3, 3), sigma=sigma),
        lambda y, sigma: tasks.missing_pixels(y, half(y), sigma=sigma),
        lambda y, sigma: tasks.super_resolve(y, factor=2, sigma=sigma),
        lambda y, sigma: tasks.demosaic(y.expand(1, 3, *y.shape[-2:]), sigma=sigma),
    ]
    for make in makes:
        with pytest.raises(SettingsError, match="25 of 255 are 25 / 255"):
            make(y, sigma=25)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make(y, sigma=25 / 255)
        with pytest.warns(HybridDIPWarning, match=r"said to be 0.1 of 255, the image's own noise is about (2|3)\d\.\d of 255"):
            make(y, sigma=0.1 / 255)
        with pytest.warns(HybridDIPWarning, match=r"said to be 60.0 of 255, the image's own noise is about (2|3)\.\d of 255"):
            make(degradations.noisy(torch.full((1, 1, 64, 64), 0.5), sigma=3 / 255).task.observation, sigma=60 / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for right in (15 / 255, 25 / 255, 50 / 255):
            tasks.denoise(y, sigma=right)
        tasks.denoise(torch.full((1, 1, 16, 16), 0.5), sigma=0.1)  # nothing to compare with


SIGNED = torch.linspace(-2, 3, 32 * 32).reshape(1, 1, 32, 32)


def test_complex_measurements_are_asked_for_as_two_channels() -> None:
    with pytest.raises(SettingsError, match="view_as_real"):
        tasks.linear(torch.fft.fft2(SIGNED), torch.fft.fft2, SIGNED.shape)


def test_an_operator_that_gives_complex_numbers_is_asked_for_two_channels() -> None:
    with pytest.raises(SettingsError, match=r"gives complex numbers, .* torch.view_as_real"):
        tasks.linear(SIGNED, torch.fft.fft2)


def differences(x: Tensor) -> Tensor:
    return x[..., 1:] - x[..., :-1]


def test_measurements_that_ask_for_values_outside_the_range_are_asked_about(photograph: Tensor) -> None:
    for image, forward in (
        (SIGNED, lambda x: x),
        (100 * photograph, lambda x: x.roll(1, -1)),
        (4 * photograph - 2, fourier_of),
    ):
        with pytest.warns(HybridDIPWarning, match=r"ask for values from .* clamped to \[0, 1\]: give its value_range"):
            tasks.linear(forward(image), forward, image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tasks.linear(SIGNED, lambda x: x, value_range=None)
        tasks.linear(SIGNED, lambda x: x, value_range=(-2, 3))
        noisy = degradations.noisy(photograph, sigma=50 / 255).task.observation
        for forward in (lambda x: x, differences, lambda x: x.cumsum(-1), fourier_of, torch.square):
            tasks.linear(forward(noisy), forward, noisy.shape)


@pytest.mark.parametrize("ends", [(1, 0), (0, 0), (0, float("inf")), 1, "01", (0, 1, 2)])
def test_a_value_range_that_is_none_is_refused(ends: object) -> None:
    with pytest.raises(SettingsError, match="A value range is"):
        tasks.linear(SIGNED, lambda x: x, value_range=ends)  # type: ignore[arg-type]


def fourier_of(x: Tensor) -> Tensor:
    """The spectrum of a real image, real and imaginary parts one below the other."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return torch.cat([spectrum.real, spectrum.imag], 1)


def fourier(x: Tensor) -> Tensor:
    """The spectrum of an image whose channels are a real and an imaginary part, as two channels again."""
    spectrum = torch.fft.fft2(torch.complex(x[:, 0], x[:, 1]), norm="ortho")
    return torch.stack([spectrum.real, spectrum.imag], 1)


def test_signed_and_complex_images_keep_their_values() -> None:
    image = torch.cat([SIGNED, -0.5 * SIGNED], 1)
    task = tasks.linear(fourier(image), fourier, image.shape, value_range=None)
    assert torch.equal(task.finish(image), image)
    assert torch.equal(task.split(0.1)[0].finish(image), image)
    found = restore(task, preset=quick, steps=120, device="cpu").image
    assert float((found - image).square().mean().sqrt()) < 0.6
    assert float(found.min()) < -1
    assert float(found.max()) > 1.5


def test_a_range_of_values_is_what_is_clamped_to() -> None:
    both = tasks.linear(SIGNED, lambda x: x, value_range=(-1.0, 1.0))
    assert both.finish(SIGNED).aminmax() == (-1, 1)
    assert tasks.linear(SIGNED, lambda x: x).finish(SIGNED).aminmax() == (0, 1)


@pytest.mark.parametrize("name", ["skip", "unet", "resnet", "texture", "decoder", "s2s"])
def test_every_network_can_end_without_a_sigmoid(name: str) -> None:
    z = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))  # the decoder's smallest map is then 2x2
    for sigmoid in (True, False):
        torch.manual_seed(0)
        image = getattr(networks, name)(4, 1, sigmoid=sigmoid)(z)
        assert bool(((image > 0) & (image < 1)).all()) is sigmoid
