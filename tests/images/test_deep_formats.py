import io
from pathlib import Path

import numpy as np
import png
import pytest

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.reading import read_picture

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("greyscale", "depth"), [(True, 1), (True, 2), (True, 4), (True, 8), (True, 16), (False, 8), (False, 16)]
)
def test_the_colour_that_a_png_calls_transparent_is(tmp_path: Path, depth: int, greyscale: bool) -> None:
    planes = 1 if greyscale else 3
    values = RANDOM.integers(0, 2**depth, (6, 8, planes))
    values[0, 0] = values[5, 7] = transparent = np.full(planes, 1)
    named = 1 if greyscale else (1, 1, 1)
    writer = png.Writer(width=8, height=6, greyscale=greyscale, bitdepth=depth, transparent=named)
    with (tmp_path / "a.png").open("wb") as handle:
        writer.write(handle, values.reshape(6, -1).tolist())
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0, 0].numpy() == 0, (values == transparent).all(-1))
    assert np.allclose(picture.pixels[0].permute(1, 2, 0).numpy(), values / (2**depth - 1), atol=1e-6)


@pytest.mark.parametrize("white", [255, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pnm_of_any_depth(tmp_path: Path, kind: int, white: int) -> None:
    planes = 3 if kind in (3, 6) else 1
    values = RANDOM.integers(0, white + 1, (6, 8, planes))
    digits = " ".join(map(str, values.flatten())).encode()
    data = digits if kind in (2, 3) else values.astype(">u2" if white > 255 else "u1").tobytes()
    (tmp_path / "a.pnm").write_bytes(b"P%d # any program\n8 # wide\n6\n%d\n" % (kind, white) + data)
    picture = read_picture(tmp_path / "a.pnm")
    assert picture.bits == (8 if white == 255 else 16)
    assert np.allclose(picture.pixels[0].permute(1, 2, 0).numpy(), values / white, atol=1e-7)
    (tmp_path / "a.pnm").write_bytes((tmp_path / "a.pnm").read_bytes()[: -len(data) // 2])
    with pytest.raises(ImageFileError, match="damaged or truncated"):
        read_picture(tmp_path / "a.pnm")


def test_pnm_is_written_with_sixteen_bits(tmp_path: Path) -> None:
    for name, planes in {"a.pgm": 1, "a.ppm": 3}.items():
        (tmp_path / "first.ppm").write_bytes(b"P%d\n8 6\n65535\n" % (5 if planes == 1 else 6) + RANDOM.bytes(96 * planes))
        save_image(load_image(tmp_path / "first.ppm"), tmp_path / name, bits=16)
        assert (tmp_path / name).read_bytes() == (tmp_path / "first.ppm").read_bytes()


def test_a_deep_png_with_all_its_properties_is_one_for_other_readers(tmp_path: Path) -> None:
    x = load_image(_with_resolution(tmp_path / "a.png"))
    save_image(x, tmp_path / "b.png", like=tmp_path / "a.png", bits=16)
    width, height, _, info = png.Reader(filename=str(tmp_path / "b.png")).read()
    assert (width, height, info["bitdepth"]) == (8, 6, 16)
    assert info["physical"] == (11811, 5906, True)


def _with_resolution(path: Path) -> Path:
    buffer = io.BytesIO()
    values = RANDOM.integers(0, 65536, (6, 24)).tolist()
    png.Writer(width=8, height=6, greyscale=False, bitdepth=16, x_pixels_per_unit=11811, y_pixels_per_unit=5906,
               unit_is_meter=True).write(buffer, values)  # fmt: skip
    path.write_bytes(buffer.getvalue())
    return path
