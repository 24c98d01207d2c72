"""Images of every kind go in, are the same tensor, and come back as what they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

from hybrid_dip.errors import HybridDIPWarning, SettingsError
from hybrid_dip.images.files import save_image
from hybrid_dip.images.kinds import AnyImage, as_given, as_tensor
from hybrid_dip.images.masks import as_mask

BYTES = np.array(skimage.data.astronaut()[96:120, 200:230])
DEEP = BYTES.astype(np.uint16) * 257
FLOATS = BYTES / 255
TENSOR = torch.from_numpy(FLOATS).float().permute(2, 0, 1)[None]

COLOUR: dict[str, AnyImage] = {
    "tensor": TENSOR,
    "bytes in a tensor": (255 * TENSOR).round().byte(),
    "uint8": BYTES,
    "uint16": DEEP,
    "uint16 of the other byte order": DEEP.astype(">u2"),
    "float32": FLOATS.astype(np.float32),
    "float64": FLOATS,
    "reversed": BYTES[::-1][::-1],
    "PIL": Image.fromarray(BYTES),
    "palette": Image.fromarray(BYTES).quantize(256, kmeans=1).convert("RGB"),
}
GREY: dict[str, AnyImage] = {
    "tensor": TENSOR[:, :1],
    "uint8": BYTES[..., 0],
    "uint16": DEEP[..., 0],
    "with an axis": FLOATS[..., :1],
    "PIL": Image.fromarray(BYTES[..., 0]),
    "PIL, 16 bits": Image.fromarray(DEEP[..., 0]),
    "PIL, floats": Image.fromarray(FLOATS[..., 0].astype(np.float32)),
}


@pytest.mark.parametrize("name", [name for name in COLOUR if name != "palette"])
def test_colour_images_are_one_tensor(name: str) -> None:
    x = as_tensor(COLOUR[name])
    assert x.is_floating_point()
    torch.testing.assert_close(x.float(), TENSOR, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GREY)
def test_grey_images_are_one_tensor(name: str) -> None:
    torch.testing.assert_close(as_tensor(GREY[name]).float(), TENSOR[:, :1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("given", [*COLOUR.values(), *GREY.values()])
def test_an_image_comes_back_as_what_it_was(given: AnyImage) -> None:
    back = as_given(as_tensor(given).float(), given)
    if isinstance(given, Image.Image):
        assert isinstance(back, Image.Image)
        assert back.mode == {"F": "I;16"}.get(given.mode, given.mode)
        back, given = np.asarray(back) / (65535 if back.mode == "I;16" else 1), np.asarray(given)
        given = given / 65535 if given.dtype == np.uint16 else given
        assert np.allclose(back, given, atol=1 / 65535)
    else:
        assert type(back) is type(given)
        assert back.shape == given.shape  # type: ignore[union-attr]
        assert back.dtype == (given.dtype.newbyteorder("=") if isinstance(given, np.ndarray) else given.dtype)  # type: ignore[union-attr]
        assert np.allclose(np.asarray(back), np.asarray(given), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [np.float16, np.longdouble])
def test_floats_of_less_or_more_digits_than_ours_keep_their_type(kind: type[np.floating[Any]]) -> None:
    given = FLOATS.astype(kind)
    torch.testing.assert_close(as_tensor(given).float(), TENSOR, atol=1e-3, rtol=0)
    assert as_given(TENSOR, given).dtype == kind
    assert as_given(TENSOR, TENSOR.half()).dtype == torch.half


def test_a_file_comes_back_as_a_picture_with_its_transparency(tmp_path: Path) -> None:
    alpha = torch.ones(1, 1, *TENSOR.shape[-2:])
    alpha[..., :12, :] = 0
    save_image(BYTES, tmp_path / "a.png", alpha=alpha)
    assert torch.equal(as_tensor(tmp_path / "a.png"), TENSOR)
    back = as_given(TENSOR, str(tmp_path / "a.png"))
    assert back.mode == "RGBA"
    assert np.array_equal(np.asarray(back), np.asarray(Image.open(tmp_path / "a.png")))
    filled = as_given(TENSOR, Image.open(tmp_path / "a.png"), opaque=(alpha == 0).float())
    assert np.asarray(filled)[..., 3].min() == 255


def test_a_fourth_channel_is_asked_about() -> None:
    values = np.dstack([BYTES, BYTES[..., 0]])
    with pytest.warns(HybridDIPWarning, match="the fourth is taken for a colour"):
        assert as_tensor(values).shape == (1, 4, 24, 30)


def test_the_mask_of_an_array_is_not_lost() -> None:
    with pytest.raises(SettingsError, match="masked array"):
        as_tensor(np.ma.masked_array(FLOATS, FLOATS > 0.5))
    assert as_tensor(np.ma.masked_array(FLOATS)).shape == (1, 3, 24, 30)


def test_twice_as_many_pixels_come_back_in_the_same_type() -> None:
    larger = as_given(TENSOR.repeat_interleave(2, -1), BYTES)
    assert larger.shape == (24, 60, 3)
    assert larger.dtype == np.uint8


MASK = np.zeros((8, 9), bool)
MASK[2:5] = True
MASKS: dict[str, AnyImage] = {
    "truth values": MASK,
    "0 and 1": MASK.astype(int),
    "0 and 255": MASK.astype(np.uint8) * 255,
    "floats": MASK.astype(float),
    "tensor": torch.from_numpy(MASK)[None, None],
    "whole numbers in a tensor": torch.from_numpy(MASK).int()[None, None],
    "PIL of one bit": Image.fromarray(MASK),
    "PIL": Image.fromarray(MASK.astype(np.uint8) * 255),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_kind_are_one_tensor(name: str) -> None:
    assert torch.equal(as_mask(MASKS[name]).float(), torch.from_numpy(MASK).float()[None, None])


@pytest.mark.parametrize("name", ["astronaut", "camera", "checkerboard", "coffee", "moon"])
def test_images_of_scikit_image_are_taken(name: str) -> None:
    values = np.array(getattr(skimage.data, name)())
    x = as_tensor(values)
    assert x.shape[1] == (3 if values.ndim == 3 else 1)
    assert np.array_equal(as_given(x, values), values)
