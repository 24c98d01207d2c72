import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.reading import read_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]  # the words that say what it is for
TAKEN, CHANGED = "2026:01:31 12:00:00", "2026:02:01 09:30:00"


def dated() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = CHANGED
    exif[ExifTags.Base.Orientation] = 1
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = TAKEN
    return exif


def photograph_with(path: Path, profile: bytes, channels: int = 3) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (16, 20, channels), np.uint8)
    Image.fromarray(values.squeeze()).save(path, icc_profile=profile, dpi=(300, 150), exif=dated())
    return path


def check(path: Path, profile: bytes | None, *, exif: bool = True) -> None:
    with Image.open(path) as written:
        assert written.info.get("icc_profile") == profile
        assert written.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        if exif:
            found = written.getexif()
            assert found[ExifTags.Base.DateTime] == CHANGED
            assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == TAKEN
        else:
            assert written.tag_v2[306] == TAKEN


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_profile_resolution_and_dates_are_carried_over(tmp_path: Path, bits: int, suffix: str) -> None:
    first = photograph_with(tmp_path / "a.jpg", SRGB)
    x, second = load_image(first), tmp_path / f"b{suffix}"
    save_image(x, tmp_path / "deep.png", bits=bits)
    if bits == 8:
        save_image(x, second, like=first)
        check(second, SRGB)
        return
    first = photograph_with(tmp_path / "a.png", SRGB)
    deep = read_picture(tmp_path / "deep.png")
    about = read_picture(first).about
    save_image(x, second, like=type(deep)(deep.pixels, None, 16, about=about))
    assert read_picture(second).bits == 16
    check(second, SRGB, exif=suffix == ".png")
    assert read_picture(second).about.profile == SRGB


def test_a_profile_for_other_channels_is_left_out(tmp_path: Path) -> None:
    grey = photograph_with(tmp_path / "grey.png", GREY, 1)
    save_image(torch.rand(1, 1, 16, 20), tmp_path / "again.png", like=grey)
    check(tmp_path / "again.png", GREY)
    save_image(torch.rand(1, 3, 16, 20), tmp_path / "coloured.png", like=grey)
    check(tmp_path / "coloured.png", None)
    broken = photograph_with(tmp_path / "broken.png", b"no profile at all")
    save_image(torch.rand(1, 3, 16, 20), tmp_path / "mended.png", like=broken)
    check(tmp_path / "mended.png", None)


def test_deep_tiffs_keep_theirs(tmp_path: Path) -> None:
    values = np.zeros((16, 20), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, iccprofile=GREY, resolution=(300, 150), resolutionunit="INCH", datetime=TAKEN)
    save_image(torch.rand(1, 1, 16, 20), tmp_path / "b.tif", like=tmp_path / "a.tif")
    check(tmp_path / "b.tif", GREY, exif=False)


def cmyk_profile() -> bytes:
    """A profile of ink that is black wherever it is printed at all: its table has paper white at no ink, else black."""
    table = np.zeros((2, 2, 2, 2, 3), np.uint8)
    table[..., 1:] = 128
    table[0, 0, 0, 0, 0] = 255
    curve = bytes(range(256))
    unit = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + 4 * curve + table.tobytes() + 3 * curve
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text\0\0\0\0ink\0"
    tags = {b"A2B0": lut, b"wtpt": white, b"cprt": text}
    at, entries, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        entries += name + struct.pack(">II", at + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def mean_of(path: Path) -> Tensor:
    return load_image(path).mean((0, 2, 3))


def test_inks_become_the_colours_that_their_profile_says(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    ink.save(tmp_path / "ink.tif", icc_profile=cmyk_profile())
    assert mean_of(tmp_path / "ink.tif").max() < 0.02, "by the formula without a profile it would be cyan"
    assert read_picture(tmp_path / "ink.tif").pixels.shape == (1, 3, 16, 16)
    ink.save(tmp_path / "plain.tif")
    with pytest.warns(UserWarning, match="CMYK without a colour profile"):
        assert mean_of(tmp_path / "plain.tif").tolist() == pytest.approx([0, 1, 1], abs=0.01)
    ink.save(tmp_path / "wrong.jpg", icc_profile=SRGB)
    with pytest.warns(UserWarning, match="CMYK without a colour profile that can be used"):
        mean_of(tmp_path / "wrong.jpg")
    Image.new("LAB", (16, 16), (128, 128, 128)).save(tmp_path / "lab.tif")
    assert mean_of(tmp_path / "lab.tif").tolist() == pytest.approx([0.466, 0.466, 0.466], abs=0.01)
