import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from torch import Tensor

from hybrid_dip.errors import HybridDIPWarning, ImageFileError
from hybrid_dip.images.files import load_image
from hybrid_dip.images.reading import read_picture

RANDOM = np.random.default_rng(0)


def channels_last(x: Tensor, white: int = 1) -> np.ndarray:
    return np.rint(white * x[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("channels", [2, 4])
def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path: Path, channels: int) -> None:
    """With 16 bits as with 8, where Pillow does it."""
    alpha = RANDOM.integers(64, 256, (9, 11, 1))
    alpha[0, 0] = 0
    multiplied = np.rint(RANDOM.random((9, 11, channels - 1)) * alpha)
    values = np.concatenate([multiplied, alpha], -1)
    kind = {"photometric": "rgb" if channels == 4 else "minisblack", "extrasamples": ["assocalpha"], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "8.tif", values.astype(np.uint8), **kind)
    tifffile.imwrite(tmp_path / "16.tif", (257 * values).astype(np.uint16), **kind)
    tifffile.imwrite(tmp_path / "float.tif", (values / 255).astype(np.float32), **kind)
    found = {name: read_picture(tmp_path / f"{name}.tif") for name in ("8", "16", "float")}
    for name, picture in found.items():
        assert picture.alpha is not None, name
        assert np.array_equal(channels_last(picture.alpha, 255), alpha), name
        straight = channels_last(picture.pixels, 255)[alpha[..., 0] > 0]
        expected = (255 * multiplied / np.maximum(alpha, 1))[alpha[..., 0] > 0]
        assert np.abs(straight - expected).max() <= 1, name
    assert found["16"].pixels.max() > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_three_channels_on_pages_of_their_own_are_colours(tmp_path: Path, dtype: type, kind: str) -> None:
    values = RANDOM.integers(0, 250, (3, 9, 11)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, **{kind: True}, metadata={"axes": "CYX"}, photometric="minisblack")
    picture = read_picture(tmp_path / "a.ome.tif")
    white = np.iinfo(dtype).max
    assert np.array_equal(channels_last(picture.pixels, white), np.moveaxis(values, 0, -1))
    assert picture.bits == (8 if dtype is np.uint8 else 16)


@pytest.mark.parametrize(("shape", "axes"), [((2, 9, 11), "CYX"), ((4, 9, 11), "CYX"), ((2, 3, 9, 11), "ZCYX")])
def test_other_channels_on_pages_of_their_own_are_refused(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), imagej=True, metadata={"axes": axes})
    with pytest.raises(ImageFileError, match="not red, green and blue; save one image"):
        load_image(tmp_path / "a.tif")


def test_of_several_pages_the_first_is_taken_with_a_word(tmp_path: Path) -> None:
    pages = RANDOM.integers(0, 256, (3, 9, 11)).astype(np.uint8)
    first, *others = map(Image.fromarray, pages)
    for name in ("a.tif", "a.gif"):
        first.save(tmp_path / name, save_all=True, append_images=others)
        with pytest.warns(HybridDIPWarning, match=r"(3 pages|several frames); the first is taken"):
            assert np.array_equal(channels_last(load_image(tmp_path / name), 255)[..., 0], pages[0])


@pytest.mark.parametrize("bits", [8, 16])
def test_planes_of_colour_one_after_the_other(tmp_path: Path, bits: int) -> None:
    values = RANDOM.integers(0, 2**bits, (3, 9, 11)).astype(f"uint{bits}")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig="separate")
    assert np.array_equal(channels_last(load_image(tmp_path / "a.tif"), 2**bits - 1), np.moveaxis(values, 0, -1))


def test_channels_of_unknown_meaning_are_no_transparency(tmp_path: Path) -> None:
    near_infrared = RANDOM.integers(0, 65536, (9, 11, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", near_infrared, photometric="rgb", extrasamples=["unspecified"])
    with pytest.warns(HybridDIPWarning, match=r"other channels \(1\) are left out"):
        picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha is None
    assert np.array_equal(channels_last(picture.pixels, 65535), near_infrared[..., :3])
    for dtype in (np.uint8, np.uint16):
        bands = RANDOM.integers(0, 256, (9, 11, 5)).astype(dtype)
        tifffile.imwrite(tmp_path / "b.tif", bands, photometric="minisblack", planarconfig="contig")
        assert np.array_equal(channels_last(load_image(tmp_path / "b.tif"), np.iinfo(dtype).max), bands)


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs reads them")
def test_packed_bits_are_a_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((10, 12), np.uint16), metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    bits = content.index(struct.pack("<HHI", 258, 3, 1)) + 8
    content[bits : bits + 2] = struct.pack("<H", 12)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageFileError, match="number of bits that needs the package imagecodecs"):
        load_image(tmp_path / "a.tif")


def test_raw_photographs_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.dng", np.zeros((9, 11), np.uint16), extratags=[(50706, 1, 4, (1, 4, 0, 0), True)])
    with pytest.raises(ImageFileError, match="raw photographs"):
        load_image(tmp_path / "a.dng")
    tifffile.imwrite(tmp_path / "a.nef", np.zeros((9, 11, 3), np.uint8), subfiletype=1)
    with pytest.raises(ImageFileError, match="begins with a small preview"):
        load_image(tmp_path / "a.nef")
