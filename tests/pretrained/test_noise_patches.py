import torch
from torch import Tensor

from pretrained.noise_patches import KINDS, NoisyPhotographs, gaussian, mosaic, none, pair, photons


def test_patches_are_pairs_with_noise_of_all_kinds(photograph: Tensor) -> None:
    drawn_from = NoisyPhotographs([(255 * photograph[0]).round().byte()], 16)
    clean, noisy = drawn_from.batch(48, torch.Generator().manual_seed(0))
    assert clean.shape == noisy.shape == (48, 3, 16, 16)
    error = (noisy - clean).square().mean((1, 2, 3)).sqrt()
    assert float(error.min()) < 2 / 255
    assert float(error.max()) > 40 / 255
    assert torch.equal(drawn_from.batch(48, torch.Generator().manual_seed(0))[1], noisy)


def test_each_kind_is_what_it_says(photograph: Tensor) -> None:
    draw = torch.Generator().manual_seed(1)
    assert torch.equal(none(photograph, draw), photograph)
    assert [kind for _, kind in KINDS] == [gaussian, photons, mosaic, none]
    for kind in (gaussian, photons, mosaic):
        assert not torch.equal(kind(photograph, draw), photograph)
    shares = [share for share, _ in KINDS]
    assert shares == sorted(shares)
    assert shares[-1] < 1, "the rest is a camera's"


def test_grey_patches_have_one_noise(photograph: Tensor) -> None:
    pairs = [pair(photograph, torch.Generator().manual_seed(seed)) for seed in range(40)]
    grey = [noisy - clean for clean, noisy in pairs if torch.equal(clean[:, 0], clean[:, 1])]
    assert grey
    assert all(float((noise[:, 0] - noise[:, 1]).abs().max()) < 3 / 255 for noise in grey)
    assert all(clean.shape == noisy.shape == photograph.shape for clean, noisy in pairs)
