import torch
from torch import Tensor

from pretrained.camera_patches import CameraPhotographs


def test_patches_are_pairs_of_a_photograph_and_what_it_is_of(photograph: Tensor) -> None:
    image = (255 * photograph[0]).round().byte()
    drawn_from = CameraPhotographs([image], 16)
    clean, noisy, level = drawn_from.batch(24, torch.Generator().manual_seed(0))
    assert clean.shape == noisy.shape == (24, 3, 16, 16)
    assert level.shape == (24, 1, 1, 1)
    error = (noisy - clean).square().mean((1, 2, 3)).sqrt()
    assert float(error.max()) > 5 / 255, "noise of high sensitivity"
    assert float(error.min()) < 3 / 255, "good files are among them"
    again = drawn_from.batch(24, torch.Generator().manual_seed(0))
    assert torch.equal(again[1], noisy)
