import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.contracts import Case
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations, operators


@pytest.fixture
def clean(photograph: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(photograph, (64, 64), mode="bicubic").clamp(0.05, 0.95)


def test_gaussian_noise_has_its_level_and_is_not_clipped(clean: Tensor) -> None:
    case = degradations.noisy(clean, sigma=0.2)
    assert float((case.task.observation - clean).std()) == pytest.approx(0.2, rel=0.02)
    assert float(case.task.observation.min()) < 0
    assert not case.protocol.clipped
    clipped = degradations.noisy(clean, sigma=0.2, clip=True)
    assert torch.equal(clipped.task.observation, case.task.observation.clamp(0, 1))
    assert clipped.protocol.clipped


def test_poisson_noise_is_photon_counts(clean: Tensor) -> None:
    case = degradations.noisy(clean, noise="poisson", peak=40)
    counts = case.task.observation * 40
    torch.testing.assert_close(counts, counts.round())
    residual = (case.task.observation - clean).square().mean()
    assert float(residual) == pytest.approx(float(clean.mean()) / 40, rel=0.05)


def test_speckle_has_mean_one_and_variance_one_over_looks(clean: Tensor) -> None:
    ratio = degradations.noisy(clean, noise="speckle", looks=5).task.observation / clean
    assert float(ratio.mean()) == pytest.approx(1, abs=0.01)
    assert float(ratio.var()) == pytest.approx(1 / 5, rel=0.05)
    assert float(((ratio - 1) ** 3).mean()) == pytest.approx(2 / 5**2, rel=0.1)  # a Gamma distribution's, no other's


def test_salt_and_pepper_hits_its_share(clean: Tensor) -> None:
    case = degradations.noisy(clean, noise="l1", share=0.3)
    hit = case.task.observation != clean
    assert float(hit.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert set(case.task.observation[hit].unique().tolist()) == {0.0, 1.0}


def test_jpeg_is_pillows(clean: Tensor) -> None:
    buffer = io.BytesIO()
    values = (clean[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(values).save(buffer, "JPEG", quality=30)
    expected = torch.from_numpy(np.asarray(Image.open(buffer)) / 255).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(degradations.jpeg_compressed(clean, quality=30).task.observation, expected)


@pytest.mark.parametrize(("per", "channels"), [("pixel", 1), ("entry", 3)])
def test_scattered_keeps_its_share(clean: Tensor, per: Any, channels: int) -> None:
    case = degradations.scattered(clean, share=0.3, per=per)
    assert case.task.weight is not None
    assert case.task.weight.shape[1] == channels
    assert float(case.task.weight.mean()) == pytest.approx(0.3, abs=0.03)
    assert case.protocol.missing == per
    known = case.task.weight.expand_as(clean) > 0
    assert torch.equal(case.task.observation[known], clean[known])


def test_downsampled_as_the_original_does_it(clean: Tensor) -> None:
    odd = torch.nn.functional.pad(clean, (0, 3, 0, 1), mode="replicate")
    case = degradations.downsampled(odd, factor=4)
    assert case.reference.shape == (1, 3, 64, 64)
    assert case.task.observation.shape == (1, 3, 16, 16)
    values = case.task.observation * 255
    torch.testing.assert_close(values, values.round(), atol=1e-4, rtol=0)
    for factor in (2, 4):
        protocol = degradations.downsampled(odd, factor=factor).protocol
        assert (protocol.channel, protocol.border) == ("y", factor)


def test_a_named_kernel_both_makes_and_explains_the_image(clean: Tensor) -> None:
    case = degradations.downsampled(clean, factor=2, kernel="bicubic")
    assert float(case.task.residual(case.reference).abs().max()) < 1e-6


def test_blurred_and_mosaicked_agree_with_their_tasks(clean: Tensor) -> None:
    for case in (degradations.blurred(clean, operators.gaussian_psf(1.2)), degradations.mosaicked(clean, pattern="BGGR")):
        assert float(case.task.residual(clean).abs().max()) < 1e-6


MAKERS = {
    "noisy": lambda x, seed: degradations.noisy(x, seed=seed),
    "poisson": lambda x, seed: degradations.noisy(x, noise="poisson", seed=seed),
    "l1": lambda x, seed: degradations.noisy(x, noise="l1", seed=seed),
    "speckle": lambda x, seed: degradations.noisy(x, noise="speckle", seed=seed),
    "scattered": lambda x, seed: degradations.scattered(x, seed=seed),
    "masked": lambda x, seed: degradations.masked(x, (x[:, :1] > 0.5).float(), sigma=0.1, seed=seed),
    "downsampled": lambda x, seed: degradations.downsampled(x, sigma=0.1, seed=seed),
    "blurred": lambda x, seed: degradations.blurred(x, torch.ones(3, 3), sigma=0.1, seed=seed),
    "mosaicked": lambda x, seed: degradations.mosaicked(x, sigma=0.1, seed=seed),
}


@pytest.mark.parametrize("name", MAKERS)
def test_degradations_follow_their_seed_and_touch_no_other(clean: Tensor, name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (MAKERS[name](clean, seed) for seed in (1, 1, 2))
    assert isinstance(first, Case)
    assert torch.equal(first.task.observation, again.task.observation)
    assert not torch.equal(first.task.observation, other.task.observation)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: degradations.noisy(x, sigma=-1),
        lambda x: degradations.noisy(x, noise="poison"),
        lambda x: degradations.noisy(x, noise="poisson", peak=0),
        lambda x: degradations.noisy(x, noise="l1", share=1.5),
        lambda x: degradations.noisy(x, noise="speckle", looks=0),
        lambda x: degradations.noisy(x, noise="speckle", peak=30),
        lambda x: degradations.scattered(x, share=0),
        lambda x: degradations.scattered(x, per="row"),
        lambda x: degradations.jpeg_compressed(x, quality=0),
        lambda x: degradations.downsampled(x, factor=0),
        lambda x: degradations.downsampled(x, factor=100),
    ],
)
def test_levels_out_of_range(clean: Tensor, make: Any) -> None:
    with pytest.raises(SettingsError):
        make(clean)


def test_stand_ins_are_noiseless_and_shuffling_keeps_the_histogram(photograph: Tensor) -> None:
    for target in degradations.STAND_INS:
        case = degradations.stand_in(photograph, target=target)
        assert torch.equal(case.task.observation, case.reference)
        assert torch.equal(case.reference, degradations.stand_in(photograph, target=target).reference)
    shuffled = degradations.stand_in(photograph, target="shuffled").reference
    assert not torch.equal(shuffled, photograph)
    colours = [sorted(map(tuple, x[0].flatten(1).T.tolist())) for x in (shuffled, photograph)]
    assert colours[0] == colours[1], "whole pixels change places"
    assert not torch.equal(shuffled, degradations.stand_in(photograph, target="shuffled", seed=1).reference)
    assert torch.equal(degradations.stand_in(photograph, target="image").reference, photograph)


TAKES: dict[str, Callable[[Any], Case]] = {
    "noisy": degradations.noisy,
    "stand_in": degradations.stand_in,
    "jpeg_compressed": degradations.jpeg_compressed,
    "masked": lambda clean: degradations.masked(clean, np.eye(32) == 0),
    "scattered": degradations.scattered,
    "downsampled": degradations.downsampled,
    "blurred": lambda clean: degradations.blurred(clean, np.ones((3, 3))),
    "mosaicked": degradations.mosaicked,
    "measured": lambda clean: degradations.measured(clean, torch.sqrt),
}


@pytest.mark.parametrize("name", TAKES)
def test_the_clean_image_may_be_of_any_kind(name: str, photograph: Tensor, tmp_path: Path) -> None:
    values = (255 * photograph[0].permute(1, 2, 0)).round().byte().numpy()
    picture = Image.fromarray(values)
    picture.save(tmp_path / "clean.png")
    expected = TAKES[name](torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255)
    for given in (values, picture, tmp_path / "clean.png"):
        case = TAKES[name](given)
        assert torch.equal(case.reference, expected.reference)
        assert torch.equal(case.task.observation, expected.task.observation)
    with pytest.raises(SettingsError, match="The clean image"):
        TAKES[name](photograph[0])
