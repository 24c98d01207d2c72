"""Image files <-> tensors in [0, 1].

Reads 8-bit and 16-bit PNG, TIFF and PNM, JPEG and the other formats of Pillow, and ``.npy`` arrays (H, W) or (H, W, C). EXIF
orientation is applied, palettes become RGB. An alpha channel and the file's properties are kept beside the pixels.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.errors import ImageFileError, check_kind
from hybrid_dip.images.arrays import FLOAT_LIMIT
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.deep_formats import Array, write_png, write_pnm
from hybrid_dip.images.kinds import AnyImage, as_tensor
from hybrid_dip.images.picture import Picture, planes, rounded
from hybrid_dip.images.pillow_images import eight_bits
from hybrid_dip.images.properties import Properties
from hybrid_dip.images.reading import read_picture
from hybrid_dip.images.tiff_files import write_tiff

DEEP_WRITERS: dict[str, Callable[[Array, Path, Properties], None]] = {
    ".png": write_png,
    **dict.fromkeys((".tif", ".tiff"), write_tiff),
    **dict.fromkeys((".pgm", ".ppm", ".pnm"), write_pnm),
}
"""Suffix -> what writes 16 bits for each channel."""


def load_image(path: str | Path) -> Tensor:
    """Read an image file.

    Args:
        path: A file of any format that Pillow reads, 16-bit PNG, TIFF and PNM, or ``.npy`` with shape (H, W) or (H, W, C).

    Returns:
        (1, C, H, W), float32, in [0, 1]; C is 1 for grey and 3 for colour images, an alpha channel is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The path is a directory, or the file is empty, truncated, too large, no image, or holds NaN.
    """
    return read_picture(path).pixels


def save_image(
    x: AnyImage,
    path: str | Path,
    *,
    alpha: Tensor | None = None,
    bits: int = 8,
    like: Picture | str | Path | None = None,
    mask: Tensor | None = None,
) -> None:
    """Write an image file, whole or not at all.

    Args:
        x: A tensor (1, C, H, W), an array (H, W) or (H, W, C), or a PIL image. Values outside [0, 1] are clamped, except for
            ``.npy``, which takes any C and keeps them.
        path: The file to write; its suffix chooses the format.
        alpha: (1, 1, H, W), written as transparency by formats that have it.
        bits: Depth of a channel, 8, or 16 for PNG, TIFF and PNM.
        like: A picture or its file, whose alpha, bits, colour profile, resolution and dates are taken over where the format
            has them.
        mask: (1, 1 or C, H, W) of 1 (known) and 0 (filled in). What was filled in is opaque.

    Raises:
        ImageFileError: The format cannot hold the image, or x is not finite, not floating-point or not in [0, 1] by its scale.
        StorageError: The file cannot be written.
    """
    check_kind("The file to write", path, str | Path, "a path")
    x, path = as_tensor(x, "The image to write, which comes first,"), Path(path)
    like = read_picture(like) if isinstance(like, str | Path) else like
    _check_image(x, path, bits)
    about = Properties()
    if like is not None:
        alpha, bits, about = like.alpha_at((x.shape[-2], x.shape[-1])) if alpha is None else alpha, like.bits, like.about
    if alpha is not None and mask is not None:
        alpha = torch.where(mask.amin(1, keepdim=True) > 0, alpha, 1.0)
    try:
        _write(x, path, alpha, bits, about)
    except (KeyError, ValueError) as error:
        if isinstance(error, ImageFileError):
            raise
        raise ImageFileError(f"{path} cannot be written: {error}.") from None


def _check_image(x: Tensor, path: Path, bits: int) -> None:
    if x.ndim != 4 or x.shape[0] != 1:
        raise ImageFileError(f"An image of shape (1, C, H, W) was expected for {path}, got {tuple(x.shape)}.")
    if not bool(torch.isfinite(x).all()):
        raise ImageFileError(f"The image for {path} holds NaN or Inf; finite numbers in [0, 1] were expected.")
    mean = float(x.abs().mean())
    if path.suffix.lower() != ".npy" and mean > FLOAT_LIMIT:
        raise ImageFileError(
            f"The image for {path} has a mean of {mean:.3g}; values in [0, 1] were expected: divide it by 255."
        )
    if bits not in (8, 16):
        raise ImageFileError(f"A channel has 8 or 16 bits, got {bits} for {path}; .npy keeps all digits.")


def _write(x: Tensor, path: Path, alpha: Tensor | None, bits: int, about: Properties) -> None:
    array, suffix = planes(x), path.suffix.lower()
    if suffix == ".npy":
        with replacement(path) as temporary:
            np.save(temporary, array[..., 0] if array.shape[-1] == 1 else array)
        return
    colours = array.shape[-1]
    if colours not in (1, 3):
        raise ImageFileError(f"{path} cannot hold {colours} channels; use a name that ends in .npy.")
    if suffix not in Image.registered_extensions():
        raise ImageFileError(f"{path} does not end in an image format's suffix, such as .png; nothing was written.")
    if alpha is not None:
        array = np.concatenate([array, planes(alpha)], -1)
    if bits == 16 and suffix in DEEP_WRITERS:
        DEEP_WRITERS[suffix](rounded(array, 65535).astype(np.uint16), path, about)
        return
    values = rounded(array, 255).astype(np.uint8)
    with replacement(path) as temporary:
        eight_bits(values).save(temporary, **about.for_pillow(colours))


def crop_to_centre(x: Tensor, size: int, scale: int = 1) -> Tensor:
    """The centre ``size`` x ``size`` of an image, or all of a side that is shorter.

    Args:
        x: (1, C, H, W).
        size: Side of the crop, in pixels of the unscaled image.
        scale: How many times larger x is than the image whose crop it has to match.

    Returns:
        (1, C, min(H, scale size), min(W, scale size)).
    """
    top, left = _corner(x, size, scale)
    return x[..., top : top + scale * size, left : left + scale * size]


def _corner(x: Tensor, size: int, scale: int = 1) -> tuple[int, int]:
    """Where the centre of an image begins, in pixels from its top and left."""
    height, width = x.shape[-2:]
    return max(0, (height // scale - size) // 2) * scale, max(0, (width // scale - size) // 2) * scale


def crop_picture(picture: Picture, size: int | None) -> Picture:
    """The centre of a picture and of its alpha channel, as :func:`crop_to_centre` cuts it; None for the whole."""
    return picture if size is None else picture.cut(*_corner(picture.pixels, size), size, size)


def fingerprint(x: Tensor) -> str:
    """SHA-256 of the content of a tensor."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
