"""PNG and PNM files with more than 8 bits for a channel, whose colours Pillow reduces to 8: arrays in, arrays out."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.properties import Properties

Array = npt.NDArray[Any]

MOST_PIXELS = 100_000_000
"""Files that claim more pixels are refused before anything is decoded: a small file can claim terabytes."""

METRES = 0.0254
"""Metres in an inch: PNG counts pixels per metre."""

_BETWEEN = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P([2356])%b(\d+)%b(\d+)%b(\d+)\s" % (_BETWEEN, _BETWEEN, _BETWEEN))
"""The header of a grey (2, 5) or coloured (3, 6) PNM file, written in digits (2, 3) or in bytes (5, 6)."""

_TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}
"""EXIF orientation -> the turn that makes the stored array upright; Pillow does it where a channel has 8 bits."""


def upright(array: Array, orientation: int) -> Array:
    """Turn an array (H, W, ...) as its EXIF orientation, 1 to 8, says; an unknown one leaves it as it is."""
    return _TURNS.get(orientation, _TURNS[1])(array)


def too_large(path: Path) -> ImageFileError:
    """The error of a file that claims more than :data:`MOST_PIXELS`."""
    return ImageFileError(f"{path} claims more than {MOST_PIXELS // 1_000_000} million pixels; crop it before use.")


def read_png(path: Path, orientation: int) -> Array:
    """Read a PNG of 16 bits, by pypng, because Pillow reduces its colours to 8 bits.

    Args:
        path: The file.
        orientation: Its EXIF orientation, 1 to 8.

    Returns:
        (H, W, C), uint16, upright; a colour that the file calls transparent has become an alpha channel.

    Raises:
        ImageFileError: The file is damaged.
    """
    import png

    try:
        with path.open("rb") as file:
            width, height, rows, info = png.Reader(file=file).read()
            array = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except (png.Error, StopIteration) as error:
        raise ImageFileError(f"{path} is damaged or truncated ({error}); a whole PNG file was expected.") from None
    planes = array.reshape(height, width, info["planes"])
    if "transparent" in info:
        opaque = (planes != np.asarray(info["transparent"])).any(-1, keepdims=True)
        planes = np.concatenate([planes, 65535 * opaque.astype(np.uint16)], -1)
    return upright(planes, orientation)


def write_png(array: Array, path: Path, about: Properties) -> None:
    """Write a PNG of 16 bits.

    Args:
        array: (H, W, C), uint16, C from 1 to 4.
        path: The file to write.
        about: What is written beside the pixels.
    """
    import png

    height, width, channels = array.shape
    has_alpha, plain = channels in (2, 4), io.BytesIO()
    writer = png.Writer(width=width, height=height, greyscale=channels < 3, alpha=has_alpha, bitdepth=16, compression=6)
    writer.write(plain, array.reshape(height, -1))
    plain.seek(0)
    header, *rest = png.Reader(file=plain).chunks()
    with replacement(path) as temporary, temporary.open("wb") as handle:
        png.write_chunks(handle, [header, *_chunks(about, channels - has_alpha), *rest])


def _chunks(about: Properties, colours: int) -> list[tuple[bytes, bytes]]:
    """What stands beside the pixels as chunks of a PNG file, in an order that the format allows."""
    chunks = []
    profile = about.profile_of(colours)
    if profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if about.dpi is not None:
        across, down = (round(side / METRES) for side in about.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if about.dates:
        chunks.append((b"eXIf", about.exif().removeprefix(b"Exif\0\0")))
    return chunks


def read_pnm(path: Path) -> tuple[Array, int] | None:
    """Read a PGM or PPM with more than 8 bits.

    Args:
        path: The file.

    Returns:
        (H, W, C), at most uint16, and the value of white; None for a file that Pillow reads as it is.

    Raises:
        ImageFileError: The file is too large.
        ValueError: The file is truncated, or has no pixels.
    """
    content = path.read_bytes()
    header = _PNM.match(content)
    if header is None or not 255 < int(header[4]) < 65536:
        return None
    kind, width, height, white = map(int, header.groups())
    if width * height > MOST_PIXELS:
        raise too_large(path)
    if width * height == 0:
        raise ValueError("no pixels")
    shape = (height, width, 3 if kind in (3, 6) else 1)
    if kind in (5, 6):
        values = np.frombuffer(content, ">u2", shape[0] * shape[1] * shape[2], header.end())
    else:
        values = np.array(content[header.end() :].split()[: shape[0] * shape[1] * shape[2]], np.int64)
    return np.minimum(values, white).reshape(shape), white


def write_pnm(array: Array, path: Path, about: Properties) -> None:
    """Write a PGM or PPM of 16 bits.

    Args:
        array: (H, W, C), uint16, C 1 or 3.
        path: The file to write.
        about: What the format has no place for.

    Raises:
        ImageFileError: There is an alpha channel, which the format does not have.
    """
    height, width, channels = array.shape
    if channels not in (1, 3):
        raise ImageFileError(f"{path} cannot hold transparency; use a name that ends in .png or .tif.")
    with replacement(path) as temporary, temporary.open("wb") as handle:
        handle.write(b"P%d\n%d %d\n65535\n" % (5 if channels == 1 else 6, width, height))
        handle.write(array.astype(">u2").tobytes())
