import math

import pytest
import torch
from torch import Tensor

from hybrid_dip.images.metrics import psnr
from hybrid_dip.problem import camera
from hybrid_dip.problem.camera import (
    LUMA_CHROMA,
    Camera,
    Reduction,
    demosaic,
    draw_camera,
    mosaic_of,
    process,
    reduce,
    take_photograph,
    unprocess,
)


def drawn(seed: int) -> tuple[Camera, torch.Generator]:
    draw = torch.Generator().manual_seed(seed)
    return draw_camera(draw), draw


@pytest.mark.parametrize("malvar", [True, False])
def test_demosaicing_is_exact_on_planes(malvar: bool) -> None:
    down, across = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    planes = torch.stack([0.1 + across / 20, 0.2 + (2 * across - down) / 40, 0.3 + down / 30])[None]
    found = demosaic(mosaic_of(planes), malvar=malvar)
    inner = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(found[inner], planes[inner], atol=1e-6)
    assert torch.allclose(mosaic_of(found), mosaic_of(planes), atol=1e-6)


def test_what_is_unprocessed_is_processed_to_the_same_image() -> None:
    """On images of one colour demosaicing changes nothing."""
    for seed in range(5):
        taken_by, draw = drawn(seed)
        colour = (0.1 + 0.6 * torch.rand(1, 3, 1, 1, generator=draw)).expand(1, 3, 16, 16)
        back = process(mosaic_of(unprocess(colour, taken_by)), taken_by)
        assert torch.allclose(back, colour, atol=2e-3)


def test_noise_has_the_variance_that_the_camera_says() -> None:
    taken_by = Camera(torch.eye(3), (1.0, 1.0, 1.0), shot=0.01, read=1e-4, malvar=False)
    grey = torch.full((1, 3, 128, 128), 0.5)
    light = float(unprocess(grey, taken_by).mean())
    noisy, truth = take_photograph(grey, taken_by, torch.Generator().manual_seed(0))
    red = unprocess(noisy, taken_by)[:, 0, ::2, ::2]  # where red was measured
    assert float(red.var()) == pytest.approx(0.01 * light + 1e-4, rel=0.1)
    assert torch.allclose(truth, grey, atol=1e-3)


def test_noise_of_a_photograph_is_alike_between_neighbours_and_depends_on_the_brightness(photograph: Tensor) -> None:
    taken_by = Camera(torch.eye(3), (2.0, 1.0, 1.7), shot=0.004, read=1e-5)
    noise = {}
    for level in (0.5, 0.95):
        grey = torch.full((1, 3, 64, 64), level)
        noisy, truth = take_photograph(grey, taken_by, torch.Generator().manual_seed(0))
        noise[level] = noisy - truth
    middle = noise[0.5]
    assert float((middle[..., 1:] * middle[..., :-1]).mean() / middle.square().mean()) > 0.3
    assert float(middle[:, 0].std()) > 1.3 * float(middle[:, 1].std())
    assert float(noise[0.95].std()) < 0.7 * float(noise[0.5].std())


def test_the_same_draws_give_the_same_photograph(photograph: Tensor) -> None:
    one, other = (take_photograph(photograph, *drawn(3)) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert 15 < psnr(*one) < 45
    assert one[0].aminmax()[0] >= 0
    assert one[0].aminmax()[1] <= 1


def test_jpeg_comes_back_near(photograph: Tensor) -> None:
    assert psnr(camera.as_jpeg(photograph, 98), photograph) > psnr(camera.as_jpeg(photograph, 75, True), photograph) > 20


def test_noise_reduction_leaves_coarse_noise_and_what_the_photograph_shows() -> None:
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    reduced = Camera(torch.eye(3), (1.0, 1.0, 1.0), 0, 0, luma=Reduction(0.2, 0.9, 1.5), chroma=Reduction(0.0, 0.9, 3.0))
    flat = torch.full_like(noise, 0.3)
    left = reduce(noise, flat, reduced)
    before, after = (torch.einsum("ij,njhw->nihw", LUMA_CHROMA, x) for x in (noise, left))
    # A blur of deviation s leaves 1 / (4 pi s^2) of the variance of white noise, and the kept share adds to its centre.
    centre = 1 / (2 * math.pi * 1.5**2)
    luma = 0.2**2 + 2 * 0.2 * 0.8 * centre + 0.8**2 / (4 * math.pi * 1.5**2)
    assert float(after[:, 0].var() / before[:, 0].var()) == pytest.approx(luma, rel=0.1)
    assert float(after[:, 1:].var() / before[:, 1:].var()) == pytest.approx(1 / (4 * math.pi * 9), rel=0.25)
    assert torch.allclose(reduce(flat, flat, reduced), flat, atol=1e-6)
    busy = 1000.0 * (torch.arange(64) % 2).expand_as(noise)
    spared = torch.einsum("ij,njhw->nihw", LUMA_CHROMA, reduce(noise, busy, reduced))[:, 0]
    assert float(spared.std()) > 2 * float(after[:, 0].std()), "detail keeps its noise"


def test_a_camera_without_noise_takes_what_is_there_with_and_without_noise_reduction(photograph: Tensor) -> None:
    taken_by = Camera(torch.eye(3), (1.0, 1.0, 1.0), 0, 0, luma=Reduction(0.2, 0.9, 1.5), chroma=Reduction(0.0, 0.9, 3.0))
    noisy, truth = take_photograph(photograph, taken_by, torch.Generator().manual_seed(0))
    assert torch.allclose(noisy, truth, atol=1e-6)
