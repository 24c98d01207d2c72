import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import HybridDIPWarning, SettingsError
from hybrid_dip.fitting.solvers import ExtendedSURE
from hybrid_dip.problem.camera import as_jpeg, demosaic, mosaic_of
from hybrid_dip.problem.noise_estimate import Level, NoiseEstimate, estimate, photon


@pytest.fixture(scope="module")
def coffee() -> Tensor:
    from skimage.data import coffee

    return torch.from_numpy(coffee()[100:228, 150:278]).permute(2, 0, 1)[None].float() / 255


def white(x: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [5, 15, 25, 50, 75])
def test_the_level_of_white_noise(coffee: Tensor, sigma: int) -> None:
    found = estimate(coffee + sigma / 255 * white(coffee))
    assert 255 * found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.white
    assert found.even
    assert found.error < 0.1


def test_grey_images_and_those_of_other_channels(coffee: Tensor) -> None:
    grey = coffee.mean(1, keepdim=True)
    assert 255 * estimate(grey + 20 / 255 * white(grey)).sigma == pytest.approx(20, rel=0.1)
    four = torch.cat([coffee, grey], 1)
    found = estimate(four + 20 / 255 * white(four))
    assert 255 * found.sigma == pytest.approx(20, rel=0.1)
    assert len(found.levels) == 4


def test_photon_noise_grows_with_the_brightness(coffee: Tensor) -> None:
    noisy = torch.poisson(40 * coffee, generator=torch.Generator().manual_seed(0)) / 40
    found = estimate(noisy)
    assert found.sigma == pytest.approx(float((noisy - coffee).std()), rel=0.1)
    assert not found.even
    assert found.white
    level = found.map(noisy)
    dark, bright = coffee < 0.15, coffee > 0.6
    assert float(level[bright].mean()) > 1.5 * float(level[dark].mean())
    assert photon(noisy) == pytest.approx(1 / 40, rel=0.15)


def test_demosaiced_noise_is_not_white(coffee: Tensor) -> None:
    mosaic = mosaic_of(coffee)
    clean, noisy = demosaic(mosaic), demosaic(mosaic + 25 / 255 * white(mosaic))
    found = estimate(noisy)
    assert found.sigma == pytest.approx(float((noisy - clean).std()), rel=0.15)
    assert not found.white
    assert found.correlation[0] > 0.2
    assert "not white" in found.sentence()


def test_noise_in_a_jpeg_file(coffee: Tensor) -> None:
    noisy = as_jpeg((coffee + 15 / 255 * white(coffee)).clamp(0, 1), 90)
    assert estimate(noisy).sigma == pytest.approx(float((noisy - coffee).std()), rel=0.15)


def told(image: Tensor) -> float:
    """The level of 255, or 0 where the sentence says that it cannot be told."""
    try:
        return 255 * estimate(image).sigma
    except SettingsError as error:
        return 0.0 if str(error).endswith("; give sigma.") and "cannot be told" in str(error) else math.inf


def test_a_clean_photograph_has_hardly_any_noise(coffee: Tensor) -> None:
    assert told(coffee) < 4
    assert told(as_jpeg(coffee, 95)) < 4


def test_bad_input(coffee: Tensor) -> None:
    with pytest.raises(SettingsError, match="all one colour; give sigma"):
        estimate(torch.full((1, 3, 64, 64), 0.5))
    with pytest.raises(SettingsError, match="16x64 pixels, and at least 32x32"):
        estimate(coffee[..., :64, :16])
    assert told((3 * coffee).clamp(0, 1)) < 4
    assert told((coffee * 9).round() / 9) < 12, "ten levels of each colour are 8 of 255 from the truth"
    squares = torch.randint(2, (1, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    assert told(torch.kron(squares, torch.ones(8, 8))) < 4


def test_large_images_are_read_in_parts(coffee: Tensor) -> None:
    large = coffee.repeat(1, 1, 15, 15)[..., :1800, :1900]
    assert 255 * estimate(large + 10 / 255 * white(large)).sigma == pytest.approx(10, rel=0.1)


def test_images_of_any_kind(coffee: Tensor) -> None:
    noisy = (coffee + 20 / 255 * white(coffee)).clamp(0, 1)
    array = (noisy[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert hd.noise.estimate(array).sigma == pytest.approx(estimate(noisy).sigma, rel=0.02)


def test_what_is_written_of_it() -> None:
    level = Level((0.1, 0.9), (0.012, 0.032))
    found = NoiseEstimate(0.02, (level,), (0.02, 0.0, 0.0), 0.05)
    assert float(level.at(torch.tensor(0.5))) == pytest.approx(0.022)
    assert float(level.at(torch.tensor(2.0))) == pytest.approx(0.032)
    assert "level of 5.1 (of 255), give or take 5 %" in found.sentence()
    assert "3.1 where the image is dark and 8.2 where it is bright" in found.sentence()
    plain = json.loads(json.dumps(found.describe()))
    assert plain["sigma"] == pytest.approx(5.1)
    assert plain["white"] is True
    assert plain["level"] == [{"brightness": [25.5, 229.5], "sigma": pytest.approx([3.06, 8.16])}]


def test_precision_makes_noise_even() -> None:
    found = NoiseEstimate(0.02, (Level((0.0, 1.0), (0.01, 0.03)),), (0.0, 0.0, 0.0), 0.05)
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    precision = found.precision(ramp)
    assert precision is not None
    task = hd.tasks.denoise(ramp, noise=found)
    assert float((task.deviation * precision.sqrt()).std()) < 1e-6
    assert float(task.deviation[0, 0, 0, 2]) == pytest.approx(0.01, rel=0.1)
    noisy = ramp + task.deviation * white(ramp)
    observed = hd.tasks.denoise(noisy, noise=found)
    assert float(observed.residual(ramp).square().mean().sqrt()) == pytest.approx(0.02, rel=0.1)
    assert float(observed.misfit(ramp)) == pytest.approx(float(observed.residual(ramp).square().mean()), rel=1e-4)


def test_a_task_takes_what_its_image_tells(coffee: Tensor) -> None:
    noisy = coffee + 20 / 255 * white(coffee)
    task = hd.tasks.denoise(noisy)
    assert task.noise_sigma == pytest.approx(20 / 255, rel=0.1)
    assert task.precision is None
    assert task.reach == 1
    with pytest.raises(SettingsError, match="leave out sigma"):
        hd.tasks.denoise(noisy, sigma=0.1, noise=estimate(noisy))


def test_a_guess_is_taken_with_a_warning(photograph: Tensor) -> None:
    with pytest.raises(SettingsError, match="detail and noise look alike"):
        estimate(photograph)
    with pytest.warns(HybridDIPWarning, match="which is a guess; sigma says it better"):
        task = hd.tasks.denoise(photograph)
    assert task.noise_sigma is not None


def test_held_out_squares_judge_by_their_middles(coffee: Tensor) -> None:
    alike = NoiseEstimate(0.02, (Level((0.5,), (0.02,)),) * 3, (0.6, 0.3, 0.05), 0.05)
    task = hd.tasks.denoise(coffee[..., :64, :64], noise=alike)
    assert task.reach == 3
    fitted, validation = task.split(0.2)
    judging = validation.held_out[0, 0] > 0
    assert fitted.weight is not None
    hidden = fitted.weight[0, 0] == 0
    rows, columns = judging.nonzero().T.tolist()
    for row, column in zip(rows, columns, strict=True):
        assert bool(hidden[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].all())
    assert 0.1 < float(hidden.float().mean()) <= 0.2
    with pytest.raises(SettingsError, match="alike up to 2 pixels apart"):
        ExtendedSURE(0.5).run(torch.nn.Conv2d(3, 3, 1), task.observation, task)


def test_a_level_is_a_mean_over_blocks_of_like_brightness(coffee: Tensor) -> None:
    found = estimate(coffee + 20 / 255 * white(coffee))
    for level in found.levels:
        assert list(level.brightness) == sorted(level.brightness)
        assert all(math.isfinite(value) and value > 0 for value in level.deviation)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_channel_has_a_level_function(channels: int) -> None:
    ramp = torch.linspace(0.05, 1, 96).expand(1, channels, 96, 96)
    noisy = torch.poisson(20 * ramp, generator=torch.Generator().manual_seed(0)) / 20
    found = hd.noise.estimate(noisy, sure=False)
    assert len(found.levels) == channels
    assert found.map(noisy).shape == noisy.shape
    assert hd.tasks.denoise(noisy).deviation.shape == noisy.shape
