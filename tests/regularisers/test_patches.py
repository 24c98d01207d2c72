import math
from pathlib import Path

import pytest
import skimage.data
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import LowRank, NonLocal, SlicedWasserstein
from hybrid_dip.regularisers.patches import gather, nearest_patches, places, pyramid

# Two patches of 2x2: their differences are 1, 2, 4 and 8 hundredths.
TWO = torch.tensor([[0.10, 0.11, 0.13], [0.20, 0.24, 0.32]])[None, None]
SQUARES = (0.01**2 + 0.02**2 + 0.04**2 + 0.08**2) / 4


def test_places_are_those_of_unfold() -> None:
    x = torch.rand(1, 3, 9, 11)
    pixels, shapes = pyramid(x, (1.0, 0.5))
    found = places(shapes, 4)
    patches = gather(pixels, found.first[:, None] + found.offsets[found.scale])
    own = torch.nn.functional.unfold(x, 4)[0].T
    torch.testing.assert_close(patches[found.scale == 0], own, atol=0, rtol=0)
    assert shapes[1] == (1, 3, 4, 6)
    assert int((found.scale == 1).sum()) == 1 * 3


def test_nearest_against_brute_force() -> None:
    queries, candidates = torch.rand(700, 5), torch.rand(300, 5)
    distances, index = nearest_patches(queries, candidates, 3)
    every = (queries[:, None] - candidates).square().mean(2)
    expected = every.sort(1)
    torch.testing.assert_close(distances, expected.values[:, :3], atol=1e-5, rtol=1e-3)
    assert float((index == expected.indices[:, :3]).float().mean()) > 0.99


def test_non_local_by_hand() -> None:
    assert float(NonLocal(size=2, neighbours=1, scales=(1.0,))(TWO)) == pytest.approx(SQUARES, rel=1e-3)


def test_non_local_of_a_periodic_image_is_zero() -> None:
    x = torch.tensor([0.2, 0.7, 0.4]).repeat(4).expand(1, 1, 12, 12)
    assert float(NonLocal(size=3, neighbours=2, scales=(1.0,))(x)) == pytest.approx(0, abs=1e-10)


def test_non_local_finds_patches_at_the_smaller_scale(photograph: Tensor) -> None:
    """Where the image holds a smaller copy of itself, the copy's patches are nearest to the smaller scale's."""
    x = photograph.clone()
    x[..., :16, :16] = torch.nn.functional.interpolate(photograph, (16, 16), mode="bilinear", antialias=True)
    found = NonLocal(size=5, neighbours=1).remember(x, 0, {})
    first, at = found["queries"][:, 0, 0], found["neighbours"][:, 0, 0]
    # The copy's upper left quarter is no longer what the smaller scale was made from.
    inside = (first % 32 >= 8) & (first % 32 <= 11) & (first // 32 >= 8) & (first // 32 <= 11)
    assert int(inside.sum()) == 16
    assert bool((at[inside] >= x.numel()).all())


def test_low_rank_by_hand() -> None:
    # Two patches of 4 entries, p and q: less their mean one singular value, |p - q| / sqrt(2).
    value = math.sqrt(4 * SQUARES / 2) / (2 * 4)
    assert float(LowRank(size=2, group=2, groups=1, epsilon=1e-7)(TWO)) == pytest.approx(value, rel=1e-3)


def test_low_rank_against_singular_values(photograph: Tensor) -> None:
    regulariser = LowRank(size=4, group=8, groups=5, epsilon=1e-7)
    x = photograph.double()
    memory = regulariser.remember(x, 0, {})
    groups = x.flatten()[memory["groups"]]
    expected = torch.linalg.svdvals(groups - groups.mean(1, keepdim=True)).sum(1).mean() / (8 * 3 * 16)
    assert float(regulariser.energy(x, memory)) == pytest.approx(float(expected), rel=1e-4)


def test_sliced_wasserstein_of_a_shift(photograph: Tensor) -> None:
    """A constant moves all quantiles along v by the constant times the sum of v."""
    regulariser = SlicedWasserstein(exemplar=photograph + 0.1, scales=(1.0,))
    directions = regulariser.remember(photograph, 0, {})["directions"]
    expected = (0.1 * directions.flatten(1).sum(1)).square().mean()
    assert float(regulariser(photograph)) == pytest.approx(float(expected), rel=1e-3)
    assert float(SlicedWasserstein(exemplar=photograph, scales=(1.0,))(photograph)) == 0


def test_sliced_wasserstein_draws_directions_anew(photograph: Tensor) -> None:
    regulariser = SlicedWasserstein()
    first, second = (regulariser.remember(photograph, step, {})["directions"] for step in (0, 1))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.flatten(1).norm(dim=1), torch.ones(32))


def test_sliced_wasserstein_prefers_a_photograph_to_its_degraded_self() -> None:
    """Patches of the photograph occur again at half its size; noise and blur do not."""
    large = torch.from_numpy(skimage.data.astronaut()[:128, 128:256]).permute(2, 0, 1)[None].float() / 255
    clean = float(SlicedWasserstein()(large))
    assert float(SlicedWasserstein()(large + 0.1 * torch.randn(large.shape))) > 3 * clean
    assert float(SlicedWasserstein()(torch.nn.functional.avg_pool2d(large, 3, stride=1))) > 1.5 * clean


def test_an_exemplar_from_a_file(photograph: Tensor, tmp_path: Path) -> None:
    hd.save_image(photograph, tmp_path / "exemplar.png")
    assert float(SlicedWasserstein(exemplar=str(tmp_path / "exemplar.png"), scales=(1.0,))(photograph)) < 1e-4


def test_options_out_of_range() -> None:
    with pytest.raises(SettingsError, match="patches of at least 2 pixels"):
        LowRank(size=1)
    with pytest.raises(SettingsError, match="1 as the first scale"):
        NonLocal(scales=(0.5,))
    with pytest.raises(SettingsError, match=r"scales above 0 and up to 1, got \(2,\)"):
        SlicedWasserstein(scales=(2,))
    with pytest.raises(SettingsError, match="fewer than two patches of 9 pixels"):
        NonLocal(size=9)(torch.rand(1, 1, 9, 9))
    with pytest.raises(SettingsError, match="3x3 has no patch of 5 pixels"):
        SlicedWasserstein()(torch.rand(1, 1, 6, 6))
