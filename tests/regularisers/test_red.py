import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import tasks
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import RED, DenoisedObservation, denoisers
from hybrid_dip.regularisers.memory import Bound
from hybrid_dip.regularisers.schedules import Linear


class Half:
    """Halves the image, and remembers at which noise levels it was asked to."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.levels.append(sigma)
        return x / 2


def test_red_by_hand() -> None:
    """D(x) = x / 2: the gradient is that of |x|^2 / 4 per entry, x / (2 n)."""
    x = torch.rand(1, 2, 3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(RED(Half())(x), x)
    torch.testing.assert_close(gradient, x.detach() / 2 / 24)


def test_red_denoises_at_intervals_while_the_image_moves() -> None:
    half = Half()
    red = RED(half, every=5).bind(tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.1))
    start, now = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16, requires_grad=True)
    for step in range(10):
        red.refresh(step, start if step == 5 else start + 1)
    assert half.levels == [0.1, 0.1]
    (gradient,) = torch.autograd.grad(red(now), now)
    torch.testing.assert_close(gradient, (now.detach() - start / 2) / now.numel())


def test_the_noise_level_is_the_tasks_or_given_or_scheduled() -> None:
    half = Half()
    image = torch.rand(1, 3, 16, 16)
    falling = Bound(RED(half, sigma=Linear(0.2, 0.1), over=11, every=1))
    for step in (0, 5, 10, 50):
        falling.refresh(step, image)
    assert half.levels == pytest.approx([0.2, 0.15, 0.1, 0.1])
    for task, level in ((tasks.denoise(image, sigma=1e-4), 2 / 255), (tasks.super_resolve(image, factor=2), 10 / 255)):
        bound = RED(half).bind(task)
        bound.refresh(0, image)
        assert half.levels[-1] == pytest.approx(level)


def test_on_the_command_line_a_denoiser_is_named() -> None:
    assert spec.term("red@0.1", catalogue()).regulariser == RED()
    found = spec.term("red:denoiser=median,sigma=linear=0.1..0.02,every=3@0.1", catalogue()).regulariser
    assert found == RED(denoisers.median, Linear(0.1, 0.02), every=3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(SettingsError, match="did you mean 'median'"):
        spec.term("red:denoiser=medium", catalogue())
    with pytest.raises(SettingsError, match=r"scale 0\.\.1, got sigma=25"):
        RED(sigma=25)
    with pytest.raises(SettingsError, match=r"gave the shape \(1, 1, 2, 2\)"):
        RED(lambda x, sigma: x[..., :2, :2])(torch.rand(1, 1, 4, 4))


def test_the_blind_level_is_that_of_the_residual() -> None:
    half = Half()
    y = torch.full((1, 1, 16, 16), 0.5)
    mask = (torch.arange(256).view(1, 1, 16, 16) % 4 == 0).float()
    bound = RED(half, sigma="residual", every=1).bind(tasks.missing_pixels(y, mask))
    for step, far in enumerate((0.1, 0.05, 0.0, 0.5)):
        x = y + far
        x[mask == 0] = 7  # not measured, so not part of it
        bound.refresh(step, x)
    assert half.levels == pytest.approx([0.1, 0.05, 2 / 255, 75 / 255])
    RED(half, sigma="residual")(y)
    assert half.levels[-1] == pytest.approx(10 / 255), "outside of a fit nothing is known"
    with pytest.raises(SettingsError, match="did you mean 'residual'"):
        RED(sigma="residul")


def test_the_denoised_observation_is_looked_at_once() -> None:
    """D(y) = y / 2: the distance of x to y / 2; with the weight w the best x is (y + w D(y)) / (1 + w)."""
    half, y = Half(), torch.rand(1, 3, 16, 16)
    task = tasks.denoise(y, sigma=0.1)
    prior = DenoisedObservation(half).bind(task)
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(prior(x), (x - y / 2).square().mean())
    prior(x)
    assert half.levels == [0.1]
    best = ((y + 3 * y / 2) / 4).requires_grad_()
    (gradient,) = torch.autograd.grad(task.fidelity(best, y, None) + 3 * prior(best), best)
    assert float(gradient.abs().max()) < 1e-8


def test_the_denoised_observation_is_for_noisy_images() -> None:
    image, prior = torch.rand(1, 3, 16, 16), DenoisedObservation(Half())
    with pytest.raises(SettingsError, match=r"not for 'super-resolve'; take RED"):
        prior.bind(tasks.super_resolve(image, factor=2))
    with pytest.raises(SettingsError, match=r"not for 'inpaint'; take RED"):
        prior.bind(tasks.inpaint(image, torch.eye(16).view(1, 1, 16, 16)))
    with pytest.raises(SettingsError, match="needs the noise level of 'jpeg'"):
        prior.bind(tasks.jpeg(image))
    DenoisedObservation(Half(), sigma=0.05).bind(tasks.jpeg(image))
    with pytest.raises(SettingsError, match="within a fit only"):
        prior(image)
