import pytest
import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations, fidelity, operators, tasks


def test_denoise_estimates_the_level_it_is_not_told(photograph: Tensor) -> None:
    large = torch.nn.functional.interpolate(photograph, (128, 128), mode="bicubic").clamp(0, 1)
    noisy = degradations.add_gaussian(large, 25 / 255)
    assert tasks.denoise(noisy).noise_sigma == pytest.approx(25 / 255, rel=0.1)
    assert tasks.denoise(noisy, sigma=0.2).noise_sigma == 0.2


def test_other_noise_has_no_sigma(photograph: Tensor) -> None:
    assert tasks.denoise(photograph, fidelity=fidelity.poisson).noise_sigma is None
    with pytest.raises(SettingsError, match="Gaussian"):
        tasks.denoise(photograph, sigma=0.1, fidelity=fidelity.l1)


def test_inpainting_forgets_what_is_under_the_mask(photograph: Tensor) -> None:
    mask = torch.ones(1, 1, 32, 32)
    mask[..., :5] = 0
    poisoned = torch.where(mask > 0, photograph, 1e3)
    task = tasks.inpaint(poisoned, mask)
    assert float(task.observation[..., :5].abs().max()) == 0
    # known pixels are pasted back, and only those
    finished = task.finish(torch.full_like(photograph, 0.5))
    assert torch.equal(finished[..., 5:], photograph[..., 5:])
    assert torch.equal(finished[..., :5], torch.full((1, 3, 32, 5), 0.5))


def test_noisy_known_pixels_are_not_pasted_back(photograph: Tensor) -> None:
    mask = (torch.rand(1, 1, 32, 32) < 0.5).float()
    task = tasks.missing_pixels(photograph, mask, sigma=0.1)
    assert torch.equal(task.finish(torch.full_like(photograph, 2.0)), torch.ones_like(photograph))
    assert task.noise_sigma == 0.1


def test_super_resolution_has_the_large_shape(photograph: Tensor) -> None:
    task = tasks.super_resolve(photograph, factor=3, kernel="bicubic")
    assert task.shape == (1, 3, 96, 96)
    assert task.residual(torch.rand(task.shape)).shape == photograph.shape


def test_demosaic_takes_a_mosaic_or_the_image_it_is_in(photograph: Tensor) -> None:
    mosaic = operators.Mosaic("GRBG")(photograph)
    from_plane, from_colour = tasks.demosaic(mosaic, pattern="GRBG"), tasks.demosaic(photograph, pattern="GRBG")
    assert from_plane.shape == from_colour.shape == (1, 3, 32, 32)
    assert torch.equal(from_plane.observation, from_colour.observation)
    assert float(from_plane.residual(photograph).abs().max()) == 0


def test_flash_brings_its_latent(photograph: Tensor) -> None:
    task = tasks.flash(photograph, photograph.flip(-1))
    assert task.latent is not None
    assert torch.equal(task.latent, photograph.flip(-1))


def test_linear_takes_any_operator(photograph: Tensor) -> None:
    matrix = torch.randn(40, 32 * 32)

    def measure(x: Tensor) -> Tensor:
        return x.flatten(2) @ matrix.T

    task = tasks.linear(measure(photograph), measure, (1, 3, 32, 32), sigma=0.1)
    assert float(task.residual(photograph).abs().max()) == 0
    fitted, validation = task.split(0.25)
    assert float(fitted.measured) == 90
    assert float(validation.score(photograph)) == 0


def test_linear_moves_modules_along() -> None:
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.gain * x

    task = tasks.linear(torch.rand(1, 1, 16, 16), Gain(), (1, 1, 16, 16))
    assert isinstance(task.forward, Gain)
    assert not task.forward.gain.requires_grad


def image(*shape: int) -> Tensor:
    return torch.full(shape or (1, 3, 20, 20), 0.5)


MASK = torch.ones(1, 1, 20, 20)
HOLE = torch.cat([torch.zeros(1, 1, 20, 5), torch.ones(1, 1, 20, 15)], -1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tasks.denoise(image(3, 20, 20)), r"\(1, C, H, W\)"),
        (lambda: tasks.denoise(image(), sigma=-1), "at least 0"),
        (lambda: tasks.denoise(image(), sigma=float("nan")), "finite"),
        (lambda: tasks.denoise(image() * float("nan")), "NaN"),
        (lambda: tasks.denoise(image(1, 3, 1, 1)), "at least 16x16"),
        (lambda: tasks.inpaint(image(), torch.zeros(1, 1, 20, 20)), "no pixel as known"),
        (lambda: tasks.inpaint(image(), MASK), "every pixel as known"),
        (lambda: tasks.inpaint(image(), HOLE[..., :19]), "same size"),
        (lambda: tasks.inpaint(image(), HOLE * 0.5), "only 1"),
        (lambda: tasks.inpaint(image(), HOLE, sigma=-1), "at least 0"),
        (lambda: tasks.super_resolve(image(), factor=0), "at least 2"),
        (lambda: tasks.super_resolve(image(), factor=21), "exceeds"),
        (lambda: tasks.super_resolve(image(), kernel="cubic"), "did you mean 'bicubic'"),  # type: ignore[arg-type]
        (lambda: tasks.deblur(image(), torch.ones(30, 3)), "larger than the image"),
        (lambda: tasks.deblur(image(), torch.zeros(3, 3)), "sum above 0"),
        (lambda: tasks.flash(image(), image(1, 3, 20, 21)), "one size"),
        (lambda: tasks.demosaic(image(1, 2, 20, 20)), "1 channel"),
        (lambda: tasks.demosaic(image(), pattern="XYZW"), "Bayer"),  # type: ignore[arg-type]
        (lambda: tasks.linear(image(), lambda x: x[..., 1:], (1, 3, 20, 20)), "y has the shape"),
        (lambda: tasks.linear(image(), lambda x: x.detach(), (1, 3, 20, 20)), "does not depend"),
    ],
)
def test_what_cannot_be_a_task_is_refused(make: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()  # type: ignore[operator]


def test_tasks_hold_no_truth() -> None:
    names = set(Task.__dataclass_fields__)
    assert names == {
        "observation", "shape", "forward", "fidelity", "weight", "noise_sigma", "precision", "correlation",
        "value_range", "latent", "finisher", "name",
    }  # fmt: skip
