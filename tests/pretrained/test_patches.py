from pathlib import Path

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import ImageFileError
from pretrained.patches import HELD_BACK, Photographs, read


def test_patches_and_their_noise(photograph: Tensor) -> None:
    photographs = Photographs([(photograph[0] * 255).byte()], 16)
    clean, noisy, sigma = photographs.batch(64, torch.Generator().manual_seed(0))
    noise = (noisy - clean) / sigma
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert 0 <= float(sigma.min()) < 10 / 255 < 65 / 255 < float(sigma.max()) <= 75 / 255
    grey = (noisy.amax(1) - noisy.amin(1)).flatten(1).amax(1) < 1e-6
    assert int(grey.sum()) == 16
    assert float(noisy.max()) > 1, "noise is not clipped"


def test_what_is_held_back_is_not_trained_on(folder: Path) -> None:
    trained, held, contents = read(folder, 20)
    assert len(set(contents)) == HELD_BACK + 2
    assert len(held) == HELD_BACK
    assert len(trained) == 2 * 2, "two photographs in two scales"
    wholes = [(image[0] * 255).round().byte() for image in held]
    assert not any(image.shape == whole.shape and torch.equal(image, whole) for image in trained for whole in wholes)
    with pytest.raises(ImageFileError, match="0 photographs of at least 64 pixels"):
        read(folder, 64)
