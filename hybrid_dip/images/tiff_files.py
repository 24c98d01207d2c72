"""TIFF files that Pillow reads in part only: more than 8 bits for a channel, and channels on pages of their own."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from hybrid_dip.errors import ImageFileError, warn
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.deep_formats import MOST_PIXELS, Array, too_large, upright
from hybrid_dip.images.properties import Properties

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = range(4)
"""Values of PhotometricInterpretation."""
_ASSOCIATED, _STRAIGHT = 1, 2
"""Values of ExtraSamples: colours multiplied by alpha, and colours as they are."""
_RAW = 50706
"""The tag DNGVersion, by which cameras mark raw data."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What a TIFF file holds.

    Attributes:
        values: (H, W, C), upright, 0 for black.
        white: The value of white.
        has_alpha: Whether the last channel is the transparency; colours are not multiplied by it.
    """

    values: Array
    white: int
    has_alpha: bool

    @property
    def bits(self) -> int:
        """Depth to write a result in."""
        return 8 if self.white == 255 else 16


def read_tiff(path: Path) -> Samples | None:
    """Read a TIFF file that Pillow would not read as a whole.

    Args:
        path: The file.

    Returns:
        Its samples, uint8, uint16 or floating point; None where Pillow can read it.

    Raises:
        ImageFileError: The file is damaged or too large, or its colours, channels or compression are not known.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = cast(Any, tiff.pages[0])
            if page.imagewidth * page.imagelength > MOST_PIXELS:
                raise too_large(path)
            if _RAW in page.tags or page.is_reduced:
                raise ImageFileError(
                    f"{path} begins with a small preview, as raw photographs do; develop it to a TIFF or PNG first."
                )
            if _colours_on_pages(path, tiff):
                array, colours = np.moveaxis(np.squeeze(tiff.series[0].asarray()), 0, -1), 3
            else:
                colours = 3 if page.photometric == _RGB else 1
                _mention_extra_channels(path, page, colours)
                if _is_for_pillow(page):
                    return None
                if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
                    raise ImageFileError(
                        f"{path} is neither grey nor RGB, with more than 8 bits for a channel; convert it to RGB."
                    )
                array = _channels_last(page)
            orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
            return _samples(path, upright(array, int(orientation)), page, colours)
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" in str(error):
            raise ImageFileError(
                f"{path} has a compression or number of bits that needs the package imagecodecs; install it, or save it plain."
            ) from None
        raise
    except (tifffile.TiffFileError, IndexError, KeyError) as error:
        raise ImageFileError(f"{path} is damaged or truncated ({error}); a whole TIFF file was expected.") from None


def _colours_on_pages(path: Path, tiff: Any) -> bool:
    """Whether three pages are red, green and blue, as ImageJ and OME write them. Of other pages the first is taken."""
    series = tiff.series[0]
    axes = "".join(axis for axis, side in zip(series.axes, series.shape, strict=True) if side > 1 or axis in "YX")
    if "C" not in axes:
        pages = sum(_pages(series) for series in tiff.series if not series.keyframe.is_reduced)
        if pages > 1:
            warn(f"{path} has {pages} pages; the first is taken.")
        return False
    if axes != "CYX" or series.shape[series.axes.index("C")] != 3:
        sizes = "x".join(map(str, series.shape))
        raise ImageFileError(
            f"{path} has channels on pages of their own ({series.axes}, {sizes}) that are not red, green and blue; save one "
            f"image of it as .npy (H, W, C)."
        )
    return True


def _pages(series: Any) -> int:
    """Number of images in a series."""
    return math.prod(side for axis, side in zip(series.axes, series.shape, strict=True) if axis not in "YXS")


def _mention_extra_channels(path: Path, page: Any, colours: int) -> None:
    known = 1 if page.extrasamples and page.extrasamples[0] in (_ASSOCIATED, _STRAIGHT) else 0
    left_out = len(page.extrasamples) - known
    if colours == 3 and left_out > 0:
        warn(f"Of {path} only colours and transparency are taken; its other channels ({left_out}) are left out.")


def _is_for_pillow(page: Any) -> bool:
    """Whether Pillow reads the page as it is: colours of a palette, or 8 bits for each channel that it knows."""
    grey = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    # Grey multiplied by its alpha is new in Pillow 13.
    many_bands = grey and (page.samplesperpixel > 2 or _ASSOCIATED in page.extrasamples)
    eight_bits = page.dtype in (np.dtype(np.uint8), np.dtype(np.bool_))
    return page.photometric == _PALETTE or (eight_bits and not many_bands)


def _channels_last(page: Any) -> Array:
    """(H, W, C) of a page, whose colours may lie in planes one after the other."""
    array: Array = page.asarray()
    if array.ndim == 2:
        return array[..., None]
    return np.moveaxis(array, 0, -1) if page.planarconfig == 2 else array


def _samples(path: Path, array: Array, page: Any, colours: int) -> Samples:
    """Make the values plain: 0 for black, colours not multiplied by alpha, no channels of unknown meaning in colour images."""
    inverted, floating = page.photometric == _WHITE_IS_ZERO, np.issubdtype(array.dtype, np.floating)
    if array.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) and (inverted or not floating):
        raise ImageFileError(
            f"{path} has {array.dtype} pixels of unknown range; 8 or 16 bits, or floats in [0, 1], were expected."
        )
    white = 1 if floating else (1 << min(page.bitspersample, 8 * array.dtype.itemsize)) - 1
    extra = int(page.extrasamples[0]) if page.extrasamples else _STRAIGHT
    has_alpha = array.shape[-1] > colours and extra in (_ASSOCIATED, _STRAIGHT)
    if colours == 3 or has_alpha:
        array = array[..., : colours + has_alpha]
    if inverted:
        array = np.concatenate([white - array[..., :colours], array[..., colours:]], -1)
    if has_alpha and extra == _ASSOCIATED:
        alpha = array[..., colours:].astype(np.float64) / white
        straight = array[..., :colours] / np.where(alpha > 0, alpha, 1)
        array = np.concatenate([straight if floating else np.minimum(straight, white), array[..., colours:]], -1)
    return Samples(array, white, bool(has_alpha))


def write_tiff(array: Array, path: Path, about: Properties) -> None:
    """Write a TIFF of 16 bits.

    Args:
        array: (H, W, C), uint16, C from 1 to 4.
        path: The file to write.
        about: What is written beside the pixels; of the dates one.
    """
    import tifffile

    channels = array.shape[-1]
    with replacement(path) as temporary:
        tifffile.imwrite(
            temporary,
            array[..., 0] if channels == 1 else array,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            iccprofile=about.profile_of(channels - (channels in (2, 4))),
            resolution=about.dpi,
            resolutionunit="INCH" if about.dpi else None,
            datetime=about.date,
        )
