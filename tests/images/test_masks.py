from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.masks import load_mask

HALF = np.where(np.arange(8)[:, None] < np.full(8, 5), 255, 0).astype(np.uint8)
"""Its first five rows are white."""


def write(array: np.ndarray, path: Path) -> Path:
    Image.fromarray(array).save(path)
    return path


def test_masks_are_binary_and_white_is_known(tmp_path: Path) -> None:
    values = HALF.copy()
    values[0] = 254  # JPEG's own rounding
    mask = load_mask(write(values, tmp_path / "m.png"))
    assert mask.shape == (1, 1, 8, 8)
    assert mask[0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert torch.equal(load_mask(write(HALF > 0, tmp_path / "one-bit.png")), mask)
    values[7] = 128
    with pytest.raises(ImageFileError, match=r"only 255 .* 12 % of its values lie between: save it as PNG"):
        load_mask(write(values, tmp_path / "m.png"))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int64, np.float64])
def test_masks_of_zeros_and_ones_in_arrays(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "m.npy", np.eye(16).astype(dtype))
    assert torch.equal(load_mask(tmp_path / "m.npy")[0, 0], torch.eye(16))


def test_single_channels_are_filled_in_only_where_an_array_asks_for_it(tmp_path: Path) -> None:
    coloured = np.zeros((8, 8, 3), np.uint8)
    coloured[..., 1] = 255
    with pytest.raises(ImageFileError, match="is in colour, which would fill in single channels"):
        load_mask(write(coloured, tmp_path / "c.png"))
    np.save(tmp_path / "c.npy", coloured)
    assert load_mask(tmp_path / "c.npy")[0, :, 0, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("colours", ["black", "white", "photograph", "noise under the transparent parts"])
def test_transparency_is_a_mask_and_opaque_is_known(tmp_path: Path, colours: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    hidden = np.where(HALF[..., None] > 0, np.uint8(255), noise)
    painted = {"black": 0 * noise, "white": 0 * noise + 255, "photograph": noise, "noise under the transparent parts": hidden}
    mask = load_mask(write(np.dstack([painted[colours], HALF]), tmp_path / "m.png"))
    assert torch.equal(mask[0, 0], torch.from_numpy(HALF / 255).float())


def test_transparency_that_says_something_else_than_the_colours_is_refused(tmp_path: Path) -> None:
    opaque = np.full_like(HALF, 255)
    assert load_mask(write(np.dstack([HALF, opaque]), tmp_path / "la.png"))[0, 0, :, 0].tolist() == [1] * 5 + [0] * 3
    with pytest.raises(ImageFileError, match="black, white and transparent parts"):
        load_mask(write(np.dstack([HALF.T, HALF]), tmp_path / "both.png"))
    with pytest.raises(ImageFileError, match="half transparent"):
        load_mask(write(np.dstack([HALF, HALF // 2]), tmp_path / "soft.png"))
