"""PNG and TIFF files with more than 8 bits for a channel, which Pillow does not read in colour: arrays in, arrays out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.atomic import replacement

Array = npt.NDArray[Any]

MOST_PIXELS = 100_000_000
"""Files that claim more pixels are refused before anything is decoded: a small file can claim terabytes."""

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


def too_large(path: Path) -> ImageFileError:
    """The error of a file that claims more than :data:`MOST_PIXELS`."""
    return ImageFileError(f"{path} claims more than {MOST_PIXELS // 1_000_000} million pixels; crop it before use.")


def read_png(path: Path, orientation: int) -> Array:
    """Read a PNG of 16 bits, by pypng, because Pillow reduces its colours to 8 bits.

    Args:
        path: The file.
        orientation: Its EXIF orientation, 1 to 8.

    Returns:
        (H, W) or (H, W, C), uint16, upright.

    Raises:
        ImageFileError: The file is damaged.
    """
    import png

    try:
        width, height, rows, info = png.Reader(filename=str(path)).read()
        array = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except (png.Error, StopIteration) as error:
        raise ImageFileError(f"{path} is damaged or truncated ({error}); a whole PNG file was expected.") from None
    planes = _upright(array.reshape(height, width, info["planes"]), orientation)
    return planes[..., 0] if info["planes"] == 1 else planes


def write_png(array: Array, path: Path) -> None:
    """Write a PNG of 16 bits.

    Args:
        array: (H, W, C), uint16, C from 1 to 4.
        path: The file to write.
    """
    import png

    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[array.shape[-1]]
    writer = png.Writer(
        width=array.shape[1],
        height=array.shape[0],
        greyscale=mode.startswith("L"),
        alpha=mode.endswith("A"),
        bitdepth=16,
        compression=6,
    )
    with replacement(path) as temporary, temporary.open("wb") as handle:
        writer.write(handle, array.reshape(array.shape[0], -1))


def read_tiff(path: Path) -> Array | None:
    """Read a TIFF with more than 8 bits for a channel.

    Args:
        path: The file.

    Returns:
        (H, W) or (H, W, C), uint16 or floating point, upright, with 0 for black; None where Pillow can read it.

    Raises:
        ImageFileError: The file is damaged or too large, or its colours or its compression are not known.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = cast(Any, tiff.pages[0])
            if page.dtype in (np.dtype(np.uint8), np.dtype(np.bool_)) or page.photometric == 3:
                return None
            if page.photometric not in (0, 1, 2):
                raise ImageFileError(f"{path} is neither grey nor RGB, with more than 8 bits for a channel; convert it to RGB.")
            if page.imagewidth * page.imagelength > MOST_PIXELS:
                raise too_large(path)
            array = page.asarray()
            orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
            planar = page.planarconfig == 2 and array.ndim == 3
            inverted = page.photometric == 0  # white is zero
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise ImageFileError(
                f"{path} has a compression that needs the package imagecodecs; install it, or save it plain."
            ) from None
        raise
    except (tifffile.TiffFileError, IndexError, KeyError) as error:
        raise ImageFileError(f"{path} is damaged or truncated ({error}); a whole TIFF file was expected.") from None
    array = _upright(np.moveaxis(array, 0, -1) if planar else array, int(orientation))
    if array.dtype == np.uint16:
        return 65535 - array if inverted else array
    if not np.issubdtype(array.dtype, np.floating) or inverted:
        raise ImageFileError(
            f"{path} has {array.dtype} pixels of unknown range; 8 or 16 bits, or floats in [0, 1], were expected."
        )
    return array


def write_tiff(array: Array, path: Path) -> None:
    """Write a TIFF of 16 bits.

    Args:
        array: (H, W, C), uint16, C from 1 to 4.
        path: The file to write.
    """
    import tifffile

    colours = array.shape[-1]
    with replacement(path) as temporary:
        tifffile.imwrite(
            temporary,
            array[..., 0] if colours == 1 else array,
            photometric="rgb" if colours >= 3 else "minisblack",
            planarconfig="contig" if colours > 1 else None,
            extrasamples=["unassalpha"] if colours in (2, 4) else None,
        )


def _upright(array: Array, orientation: int) -> Array:
    return _TURNS.get(orientation, _TURNS[1])(array)
