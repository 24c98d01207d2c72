"""Arrays in ``.npy`` files: their shapes, their types, and the range that each type stands for."""

from pathlib import Path

import numpy as np

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.deep_formats import MOST_PIXELS, Array, too_large

FLOAT_LIMIT = 16.0
"""Floating-point arrays must lie within +-16: noise may leave [0, 1], but 0..255 is a mistake of scale."""


def read_npy(path: Path) -> tuple[Array, int, int]:
    """Read an array.

    Args:
        path: A file of ``numpy.save``, (H, W) or (H, W, C).

    Returns:
        The values, that of white, and the bits of a channel in which a result is written as a picture.

    Raises:
        ImageFileError: It is no such file, or holds something else than an image's numbers.
        ValueError: The file is damaged.
    """
    with path.open("rb") as handle:
        if handle.read(6) != b"\x93NUMPY":
            raise ImageFileError(f"{path} is not a .npy file; one written by numpy.save was expected.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error):
            raise ImageFileError(
                f"{path} holds Python objects; an array of numbers (H, W) or (H, W, C) was expected."
            ) from None
        raise
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageFileError(f"{path} has the shape {array.shape}; (H, W) or (H, W, C) was expected.")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise too_large(path)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return np.asarray(array), int(np.iinfo(array.dtype).max), 16
    if array.dtype == np.bool_ or (np.issubdtype(array.dtype, np.integer) and np.isin(array, (0, 1)).all()):
        return np.asarray(array), 1, 8
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageFileError(f"{path} has the type {array.dtype}; floats in [0, 1], uint8, uint16 or bool were expected.")
    check_floats(path, array)
    return np.asarray(array), 1, 16


def check_floats(path: Path | str, array: Array) -> None:
    """Refuse floating-point values that are no image's.

    Args:
        path: The file that they are from, or what else they are called.
        array: The values.

    Raises:
        ImageFileError: They are not finite, or beyond :data:`FLOAT_LIMIT`.
    """
    if not np.isfinite(array).all():
        raise ImageFileError(f"{path} holds NaN or Inf; finite numbers in [0, 1] were expected.")
    low, high = float(array.min()), float(array.max())
    if max(-low, high) > FLOAT_LIMIT:
        raise ImageFileError(f"{path} has values from {low:.3g} to {high:.3g}; floats in [0, 1] were expected.")
