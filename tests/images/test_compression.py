import io
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageOps

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.compression import Compression, compression_of_quality, read_compression
from hybrid_dip.images.files import crop_picture
from hybrid_dip.images.pillow_images import picture_of

ASTRONAUT = Image.fromarray(skimage.data.astronaut()[:40, 200:256])
FIRST_ROW = (16, 11, 10, 16, 24, 40, 51, 61)
"""Of the table for brightness in ITU-T T.81, annex K, which quality 50 takes as it is."""
FIRST_COLUMN = (16, 12, 14, 14, 18, 24, 49, 72)


def saved(image: Image.Image, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return Image.open(buffer)


def test_a_files_own_tables_are_read_row_by_row() -> None:
    found = read_compression(saved(ASTRONAUT, quality=50))
    assert found is not None
    assert found.colour is not None
    assert found.brightness[:8] == FIRST_ROW
    assert found.brightness[::8] == FIRST_COLUMN
    assert found.colour[:4] == (17, 18, 24, 47)
    assert (found.spacing, found.corner, found.group) == ((2, 2), (0, 0), (16, 16))
    assert found == compression_of_quality(50, 3)


@pytest.mark.parametrize(("subsampling", "spacing"), [("4:4:4", (1, 1)), ("4:2:2", (1, 2)), ("4:2:0", (2, 2))])
def test_the_resolution_of_colour_is_read(subsampling: str, spacing: tuple[int, int]) -> None:
    found = read_compression(saved(ASTRONAUT, quality=30, subsampling=subsampling, progressive=True))
    assert found is not None
    assert found.spacing == spacing


def test_a_grey_file_has_one_table() -> None:
    found = read_compression(saved(ASTRONAUT.convert("L"), quality=50))
    assert found == Compression(compression_of_quality(50, 3).brightness)
    assert found == compression_of_quality(50, 1)


@pytest.mark.parametrize(
    "image",
    [ASTRONAUT, saved(ASTRONAUT).convert("RGB").copy(), saved(ASTRONAUT.convert("CMYK")), saved(ASTRONAUT, keep_rgb=True)],
    ids=["no file", "a copy of pixels", "ink", "RGB as such"],
)
def test_other_images_have_none(image: Image.Image) -> None:
    assert read_compression(image) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_blocks_turn_with_the_image(orientation: int) -> None:
    """In the file, the value at the corner of each group of blocks is marked; it is found where the turned blocks lie."""
    height, width, compression = 37, 53, Compression(tuple(range(64)), tuple(range(64, 128)), (2, 1))
    marks = np.zeros((height, width), dtype=np.uint8)
    rows, columns = np.arange(height) % 16, np.arange(width) % 8
    marks[np.ix_((rows == 0) | (rows == 15), (columns == 0) | (columns == 7))] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(marks)
    image.info["exif"] = exif.tobytes()
    turned = np.asarray(ImageOps.exif_transpose(image))
    found = compression.turned(orientation, (height, width))
    (down, across), (tall, wide) = found.corner, found.group
    rows, columns = (np.arange(turned.shape[0]) + down) % tall, (np.arange(turned.shape[1]) + across) % wide
    ends = np.zeros_like(turned)
    ends[np.ix_((rows == 0) | (rows == tall - 1), (columns == 0) | (columns == wide - 1))] = 1
    assert np.array_equal(turned, ends)
    assert found.brightness[1] == (8 if orientation > 4 else 1)


def test_a_crop_keeps_its_place_in_the_blocks() -> None:
    picture = picture_of(saved(ASTRONAUT, quality=50))
    assert picture.compression is not None
    part = crop_picture(picture, 21)  # of 40 x 56: from 9, 17 on
    assert torch.equal(part.pixels, picture.pixels[..., 9:30, 17:38])
    assert part.compression is not None
    assert part.compression.corner == (9, 1)
    assert part.cut(8, 0, 4, 4).compression == picture.compression.cut(17, 17)
    assert crop_picture(picture, None) is picture


@pytest.mark.parametrize(("quality", "channels"), [(0, 3), (101, 3), (50, 2), (50.5, 3)])
def test_a_quality_out_of_range_is_refused(quality: Any, channels: int) -> None:
    with pytest.raises(SettingsError, match=r"quality of|whole number"):
        compression_of_quality(quality, channels)
