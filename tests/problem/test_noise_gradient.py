"""The unit of balanced weights against its definition: ||dE/dx|| at the truth, over noise drawn from the model itself."""

import math
from collections.abc import Callable

import pytest
import skimage.data
import torch
from torch import Tensor

from hybrid_dip.contracts import Fidelity, Task
from hybrid_dip.problem import degradations, fidelity, tasks
from hybrid_dip.problem.noise import add_gaussian, add_photon_noise, add_salt_and_pepper, add_speckle
from hybrid_dip.problem.noise_gradient import noise_gradient

SIGMA = 10 / 255
SIDE = 48
Draw = Callable[[Tensor, int], Tensor]


@pytest.fixture(scope="module")
def clean() -> Tensor:
    """A part of a photograph as sharp as photographs are, nowhere quite black: there speckle's likelihood has no scale."""
    face = torch.from_numpy(skimage.data.astronaut()[60 : 60 + SIDE, 190 : 190 + SIDE]).permute(2, 0, 1)[None].float() / 255
    return 0.1 + 0.9 * face


def at_the_truth(task: Task, clean: Tensor, draw: Draw) -> float:
    squares = []
    for seed in range(8):
        x = clean.clone().requires_grad_()
        y = draw(task.forward(clean), seed)
        (gradient,) = torch.autograd.grad(task.fidelity(task.forward(x), y, task.weight), x)
        squares.append(float(gradient.square().sum()))
    return math.sqrt(sum(squares) / len(squares))


def gaussian(prediction: Tensor, seed: int) -> Tensor:
    return add_gaussian(prediction, SIGMA, seed=seed)


def a_psf(deviation: float) -> Tensor:
    line = torch.exp(-((torch.arange(9) - 4.0) ** 2) / (2 * deviation**2))
    return line[:, None] * line


WHOLE = 2 * SIGMA / math.sqrt(3 * SIDE**2)
"""2 sigma / sqrt(m), the norm for A = 1 and the whole image."""

GAUSSIAN: dict[str, tuple[Callable[[Tensor], Task], float]] = {
    "denoise": (lambda x: degradations.noisy(x, sigma=SIGMA).task, WHOLE),
    "half known": (lambda x: degradations.scattered(x, share=0.5, sigma=SIGMA).task, 0.707 * WHOLE),
    "a tenth known": (lambda x: degradations.scattered(x, share=0.1, sigma=SIGMA).task, 0.315 * WHOLE),
    "twice as large": (lambda x: degradations.downsampled(x, factor=2, sigma=SIGMA).task, 0.412 * 2 * WHOLE),
    "four times as large": (lambda x: degradations.downsampled(x, factor=4, sigma=SIGMA).task, 0.208 * 4 * WHOLE),
    "blurred": (lambda x: degradations.blurred(x, a_psf(1.5), sigma=SIGMA).task, 0.198 * WHOLE),
}


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_noise_through_every_operator(name: str, clean: Tensor) -> None:
    make, expected = GAUSSIAN[name]
    task = make(clean)
    found = noise_gradient(task)
    assert found == pytest.approx(at_the_truth(task, clean, gaussian), rel=0.05)
    assert found == pytest.approx(expected, rel=0.05)


MODELS: dict[str, tuple[Fidelity, Draw]] = {
    "10 photons": (fidelity.poisson, lambda x, seed: add_photon_noise(x, 10, seed=seed)),
    "30 photons": (fidelity.poisson, lambda x, seed: add_photon_noise(x, 30, seed=seed)),
    "4 looks": (fidelity.speckle, lambda x, seed: add_speckle(x, 4, seed=seed)),
    "10 looks": (fidelity.speckle, lambda x, seed: add_speckle(x, 10, seed=seed)),
    "Laplacian": (fidelity.l1, lambda x, seed: torch.where(add_salt_and_pepper(x, 0.5, seed=seed) == x, x + 1e-3, x - 1e-3)),
}
"""Noise model -> a draw of it. Of Laplacian noise only the signs matter."""


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_noise_that_is_not_gaussian(name: str, masked: bool, clean: Tensor) -> None:
    """Nothing is told about its level. It is estimated, so detail that passes for noise makes it a little too large."""
    model, draw = MODELS[name]
    y = draw(clean, 100)
    mask = (torch.rand(1, 1, *y.shape[-2:], generator=torch.Generator().manual_seed(0)) < 0.5).float()
    task = tasks.missing_pixels(y, mask, fidelity=model) if masked else tasks.denoise(y, fidelity=model)
    assert noise_gradient(task) == pytest.approx(at_the_truth(task, clean, draw), rel=0.12)


def test_noise_of_no_known_level_is_that_of_eight_bits(clean: Tensor) -> None:
    exact, rounded = (degradations.scattered(clean, share=0.5, sigma=sigma).task for sigma in (0.0, 2 / 255))
    assert noise_gradient(exact) == pytest.approx(noise_gradient(rounded), rel=1e-6)


def test_an_operator_that_is_not_linear_and_data_that_are_no_image(clean: Tensor) -> None:
    y = clean.square().flatten()
    task = tasks.linear(y, lambda x: x.square().flatten(), clean.shape, sigma=SIGMA)
    # A's slope 2x at images in [0, 1] has the root mean square 2 / sqrt(3)
    assert noise_gradient(task) == pytest.approx(2 / math.sqrt(3) * 2 * SIGMA / math.sqrt(y.numel()), rel=0.05)
    for model in (fidelity.poisson, fidelity.speckle):
        assert 0 < noise_gradient(tasks.linear(y, lambda x: x.flatten(), clean.shape, fidelity=model)) < math.inf


def test_it_leaves_the_random_state_alone_and_repeats(clean: Tensor) -> None:
    task = degradations.scattered(clean, share=0.5).task
    before = torch.get_rng_state()
    assert noise_gradient(task) == noise_gradient(task)
    assert torch.equal(torch.get_rng_state(), before)
