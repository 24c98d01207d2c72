from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.images.files import save_image
from pretrained.bundled import DenoisingNetwork
from pretrained.camera_patches import OFF, CameraPhotographs, deviation_around, table
from pretrained.denoisers import camera_denoiser_of


def test_patches_are_pairs_of_a_photograph_and_what_it_is_of(photograph: Tensor) -> None:
    image = (255 * photograph[0]).round().byte()
    drawn_from = CameraPhotographs([image], 16)
    clean, noisy, level = drawn_from.batch(24, torch.Generator().manual_seed(0))
    assert clean.shape == noisy.shape == (24, 3, 16, 16)
    assert level.shape == (24, 1, 16, 16)
    error = (noisy - clean).square().mean((1, 2, 3)).sqrt()
    true = deviation_around(noisy - clean)
    off = (level.mean((1, 2, 3)) / true.mean((1, 2, 3)))[error > 4 / 255].log()
    assert 0.5 * OFF < float(off.std()) < 2 * OFF, "the level that is told is about right"
    assert float(error.max()) > 5 / 255, "noise of high sensitivity"
    assert float(error.min()) < 3 / 255, "good files are among them"
    again = drawn_from.batch(24, torch.Generator().manual_seed(0))
    assert torch.equal(again[1], noisy)


def test_a_denoiser_that_changes_nothing_leaves_the_figures(photograph: Tensor, tmp_path: Path) -> None:
    save_image(photograph, tmp_path / "a.png")
    network = DenoisingNetwork()
    torch.nn.init.zeros_(network.last.weight)
    lines = table(camera_denoiser_of(network), tmp_path)
    assert lines[2].startswith("| by a camera | ")
    for line in lines[2:]:
        _, _, before, after, _ = line.split("|")
        assert before == after
