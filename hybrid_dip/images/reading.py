"""Image files, arrays in files among them, to pictures."""

import struct
import warnings
import zlib
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from hybrid_dip.errors import ImageFileError, check_kind, warn
from hybrid_dip.images.arrays import check_floats, read_npy
from hybrid_dip.images.deep_formats import MOST_PIXELS, read_png, read_pnm, too_large
from hybrid_dip.images.picture import Picture, split_alpha, to_tensor
from hybrid_dip.images.pillow_images import picture_of, spread_transparency
from hybrid_dip.images.properties import Properties, read_properties
from hybrid_dip.images.tiff_files import read_tiff

_FRAMED = ("GIF", "PNG", "WEBP", "AVIF")
"""Formats that may hold an animation; the second images of others are previews or depths."""


def read_picture(path: str | Path) -> Picture:
    """Read an image file, with what is needed to write a result in the same form.

    Args:
        path: A file of any format that Pillow reads, 16-bit PNG, TIFF and PNM, or ``.npy``.

    Returns:
        The picture.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The path is a directory, or the file is empty, truncated, too large, no image, or holds NaN.
    """
    check_kind("An image file", path, str | Path, "a path")
    path = Path(path)
    if path.is_dir():
        raise ImageFileError(f"{path} is a directory; an image file was expected.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty; an image file was expected.")
    try:
        return _read_npy(path) if path.suffix.lower() == ".npy" else _read_image(path)
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path} is not an image in a format that can be read; expected PNG, JPEG, TIFF or the like."
        ) from None
    except PermissionError:
        raise ImageFileError(f"{path} cannot be read: permission denied.") from None
    except Image.DecompressionBombError:
        raise too_large(path) from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, zlib.error) as error:
        if isinstance(error, ImageFileError):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise ImageFileError(f"{path} is damaged or truncated ({reason}); a whole image file was expected.") from None


def _read_npy(path: Path) -> Picture:
    values, white, bits = read_npy(path)
    return Picture(to_tensor(values / white), bits=bits, is_array=True)


def _read_image(path: Path) -> Picture:
    with path.open("rb") as handle:
        head = handle.read(32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            samples = read_tiff(path)
            if samples is not None:
                if samples.white == 1:
                    check_floats(path, samples.values)
                return split_alpha(samples.values, samples.white, samples.bits, _properties(path), samples.has_alpha)
        deep = read_pnm(path) if head[:2] in (b"P2", b"P3", b"P5", b"P6") else None
        if deep is not None:
            return split_alpha(*deep, 16, Properties())
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise too_large(path)
            if opened.format in _FRAMED and getattr(opened, "is_animated", False):
                warn(f"{path} has several frames; the first is taken.")
            if head[1:4] == b"PNG" and head[24] == 16:
                turned = opened.getexif().get(ExifTags.Base.Orientation, 1)
                return split_alpha(read_png(path, turned), 65535, 16, read_properties(opened))
            opened.load()
            if head[1:4] == b"PNG":
                spread_transparency(opened, head[24])
            return picture_of(opened, str(path))


def _properties(path: Path) -> Properties:
    """What a TIFF says of its pixels, where Pillow can open it: it knows fewer kinds of pixels than files have."""
    try:
        with Image.open(path) as opened:
            return read_properties(opened)
    except (OSError, SyntaxError, ValueError):
        return Properties()
