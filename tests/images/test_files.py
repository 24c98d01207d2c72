import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from hybrid_dip.errors import ImageFileError, StorageError
from hybrid_dip.images import files


def pattern(*shape: int, largest: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, largest + 1, shape)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("shape", [(17, 23), (17, 23, 3)])
def test_eight_bits_survive_a_round_trip(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    values = pattern(*shape).astype(np.uint8)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    Image.fromarray(values).save(first)
    x = files.load_image(first)
    assert x.shape == (1, 1 if len(shape) == 2 else 3, 17, 23)
    assert x.dtype == torch.float32
    files.save_image(x, second)
    assert np.array_equal(np.asarray(Image.open(second)), values)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_alpha_survive_a_round_trip(tmp_path: Path, channels: int) -> None:
    values = pattern(9, 11, channels, largest=65535) / 65535
    tensor = torch.from_numpy(values).float().permute(2, 0, 1)[None]
    has_alpha = channels in (2, 4)
    pixels, alpha = (tensor[:, :-1], tensor[:, -1:]) if has_alpha else (tensor, None)
    files.save_image(pixels, tmp_path / "a.png", alpha=alpha, bits=16)
    picture = files.read_picture(tmp_path / "a.png")
    assert picture.bits == 16
    torch.testing.assert_close(picture.pixels, pixels, atol=1e-7, rtol=0)
    assert (picture.alpha is not None) == has_alpha
    if has_alpha:
        torch.testing.assert_close(picture.alpha, alpha, atol=1e-7, rtol=0)


@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3)])
def test_sixteen_bit_tiff(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = pattern(*shape, largest=65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    x = files.load_image(tmp_path / "a.tif")
    found = x[0].permute(1, 2, 0).numpy() * 65535
    assert np.array_equal(np.rint(found).reshape(shape), values)


def test_white_is_zero_and_alpha_in_deep_tiffs(tmp_path: Path) -> None:
    values = pattern(9, 11, largest=65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "w.tif", values, photometric="miniswhite")
    assert np.allclose(files.load_image(tmp_path / "w.tif")[0, 0].numpy() * 65535, 65535.0 - values, atol=0.01)
    colours = np.random.default_rng(0).random((9, 11, 4)).astype(np.float32)
    tifffile.imwrite(tmp_path / "f.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    picture = files.read_picture(tmp_path / "f.tif")
    assert picture.pixels.shape[1] == 3
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0, 0].numpy(), colours[..., 3])
    tifffile.imwrite(tmp_path / "c.tif", pattern(9, 11, 4, largest=65535).astype(np.uint16), photometric="separated")
    with pytest.raises(ImageFileError, match="neither grey nor RGB"):
        files.load_image(tmp_path / "c.tif")


def test_arrays_of_any_byte_order(tmp_path: Path) -> None:
    values = pattern(9, 11, largest=65535)
    for dtype in (">u2", "<u2"):
        np.save(tmp_path / "a.npy", values.astype(dtype))
        assert np.allclose(files.load_image(tmp_path / "a.npy")[0, 0].numpy() * 65535, values)


def test_alpha_of_eight_bits_is_kept_beside_the_colours(tmp_path: Path) -> None:
    values = pattern(8, 8, 4).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    picture = files.read_picture(tmp_path / "a.png")
    assert picture.pixels.shape == (1, 3, 8, 8)
    files.save_image(picture.pixels, tmp_path / "b.png", alpha=picture.alpha)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), values)
    assert picture.alpha_at((16, 16)).shape == (1, 1, 16, 16)  # type: ignore[union-attr]


def test_palettes_become_colours(tmp_path: Path) -> None:
    image = Image.fromarray(pattern(8, 8, 3).astype(np.uint8)).quantize(16)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB")) / 255
    assert np.allclose(files.load_image(tmp_path / "a.png")[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = Image.fromarray(pattern(8, 12).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    stored = files.load_image(tmp_path / "a.png")
    assert tuple(stored.shape[-2:]) == ((8, 12) if orientation < 5 else (12, 8))
    # 16-bit files are turned by our own table, which must agree with Pillow's
    Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(tmp_path / "b.png", exif=exif)
    torch.testing.assert_close(files.load_image(tmp_path / "b.png"), stored)
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(image).astype(np.uint16) * 257, extratags=[(274, 3, 1, orientation, True)])
    torch.testing.assert_close(files.load_image(tmp_path / "a.tif"), stored)


def test_arrays_keep_their_channels_and_their_range(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0.5, 0.5, (16, 17, 5)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    x = files.load_image(tmp_path / "a.npy")
    assert x.shape == (1, 5, 16, 17)
    files.save_image(x, tmp_path / "b.npy")
    assert np.array_equal(np.load(tmp_path / "b.npy"), array)


def png_header(width: int, height: int, depth: int, data: bytes = zlib.compress(b"\0" * 100)) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pattern(64, 64, 3).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


BAD_FILES = {
    "empty.png": b"",
    "text.png": b"hello",
    "truncated.png": encoded("PNG")[:3000],
    "truncated.jpg": encoded("JPEG")[:1500],
    "truncated16.png": png_header(64, 64, 16),
    "garbage16.png": png_header(64, 64, 16, b"garbage" * 20),
    "bomb.png": png_header(30000, 30000, 8),
    "bomb16.png": png_header(30000, 30000, 16),
    "nan.npy": saved(np.full((16, 16), np.nan)),
    "objects.npy": saved(np.full((16, 16), None)),
    "five.npy": saved(np.zeros((1, 2, 3, 16, 16))),
    "huge.npy": saved(np.full((16, 16), 1e300)),
    "scale.npy": saved(np.full((16, 16), 200.0)),
    "complex.npy": saved(np.zeros((16, 16), complex)),
    "none.npy": saved(np.zeros((0, 16))),
    "truncated.npy": saved(np.zeros((16, 16)))[:300],
    "text.npy": b"hello",
    "truncated.tif": encoded("TIFF")[:100],
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(ImageFileError) as error:
        files.read_picture(tmp_path / name)
    message = str(error.value)
    assert name in message
    assert "\n" not in message


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        files.load_image(tmp_path / "nothing.png")
    with pytest.raises(ImageFileError, match="is a directory"):
        files.load_image(tmp_path)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="5 channels"):
        files.save_image(torch.rand(1, 5, 8, 8), tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="suffix"):
        files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "a.nonsense")
    for x, word in {
        torch.full((1, 3, 8, 8), torch.nan): "NaN",
        torch.full((1, 3, 8, 8), 117.0): r"mean of 117; values in \[0, 1\]",
    }.items():
        with pytest.raises(ImageFileError, match=word):
            files.save_image(x, tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="8 or 16 bits, got 32"):
        files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "a.tif", bits=32)
    with pytest.raises(ImageFileError, match="cannot hold transparency"):
        files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "a.ppm", alpha=torch.ones(1, 1, 8, 8), bits=16)
    with pytest.raises(StorageError, match="cannot be written"):
        files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_crop_matches_the_crop_of_its_enlargement() -> None:
    small = torch.arange(15 * 21.0).view(1, 1, 15, 21)
    large = small.repeat_interleave(4, -1).repeat_interleave(4, -2)
    expected = files.crop_to_centre(small, 6).repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert torch.equal(files.crop_to_centre(large, 6, scale=4), expected)
    assert files.crop_to_centre(small, 18).shape == (1, 1, 15, 18)


def test_what_a_mask_fills_in_is_opaque_and_the_rest_as_in_the_file(tmp_path: Path) -> None:
    alpha, mask = torch.full((1, 1, 8, 8), 0.6), torch.ones(1, 3, 8, 8)
    alpha[..., :4], mask[:, 1, 2:] = 0, 0
    files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "a.png", alpha=alpha, bits=16)
    files.save_image(torch.rand(1, 3, 8, 8), tmp_path / "b.png", like=tmp_path / "a.png", mask=mask)
    written = files.read_picture(tmp_path / "b.png")
    assert written.bits == 16
    assert written.alpha is not None
    assert (written.alpha[..., 2:, :] == 1).all(), "also where one channel alone was filled in"
    torch.testing.assert_close(written.alpha[..., :2, :], alpha[..., :2, :], atol=1e-5, rtol=0)
