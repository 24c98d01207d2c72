"""PIL images <-> pictures."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from hybrid_dip.errors import ImageFileError, warn
from hybrid_dip.images.arrays import check_floats
from hybrid_dip.images.compression import read_compression
from hybrid_dip.images.deep_formats import Array
from hybrid_dip.images.picture import Picture, planes, rounded, split_alpha
from hybrid_dip.images.properties import Properties, in_srgb, read_properties


def picture_of(image: Image.Image, name: str = "The PIL image") -> Picture:
    """Take a PIL image.

    Args:
        image: Of any mode; EXIF orientation is applied, palettes become RGB.
        name: What it is called in a sentence.

    Returns:
        Its pixels, transparency, depth and properties, and how a JPEG file was compressed.

    Raises:
        ImageFileError: Its pixels have 32 bits, whose white is not known; or floats that are no image's.
    """
    about, compression = read_properties(image), read_compression(image)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        values = np.asarray(image)
        check_floats(name, values)
        return split_alpha(values, 1, 16, about)
    if image.mode.startswith("I;16"):
        return split_alpha(np.asarray(image), 65535, 16, about)
    if image.mode == "I":
        raise ImageFileError(f"{name} has 32-bit pixels of unknown range; save it as 16-bit PNG or as .npy in [0, 1].")
    return replace(split_alpha(_colours(image, name), 255, 8, about), compression=compression)


def as_pillow(x: Tensor, alpha: Tensor | None = None, bits: int = 8, about: Properties | None = None) -> Image.Image:
    """An image as Pillow's.

    Args:
        x: (1, C, H, W), C 1 or 3; values outside [0, 1] are clamped.
        alpha: (1, 1, H, W) in [0, 1], or None.
        bits: 16 gives 16 bits where Pillow has a mode for them: grey without alpha.
        about: Properties, whose colour profile is taken over.

    Returns:
        An image of mode L, LA, RGB, RGBA or I;16.

    Raises:
        ImageFileError: There are neither one nor three channels.
    """
    if x.shape[1] not in (1, 3):
        raise ImageFileError(f"A PIL image has 1 or 3 channels, got {x.shape[1]}; take the array or the tensor.")
    values = planes(x) if alpha is None else np.concatenate([planes(x), planes(alpha)], -1)
    if bits == 16 and values.shape[-1] == 1:
        return Image.fromarray(rounded(values[..., 0], 65535).astype(np.uint16))
    image = eight_bits(rounded(values, 255).astype(np.uint8))
    profile = None if about is None else about.profile_of(x.shape[1])
    if profile:
        image.info["icc_profile"] = profile
    return image


def eight_bits(values: Array) -> Image.Image:
    """(H, W, C) from 0 to 255 as an image of mode L, LA, RGB or RGBA."""
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def spread_transparency(image: Image.Image, depth: int) -> None:
    """Scale the grey level that is transparent along with the others: Pillow spreads 2 and 4 bits to 8, but not this one."""
    if image.mode == "L" and depth in (2, 4) and "transparency" in image.info:
        image.info["transparency"] *= 255 // (2**depth - 1)


def _colours(image: Image.Image, name: str) -> Array:
    """(H, W) or (H, W, C) from 0 to 255, with nothing lost: L, LA, RGB or RGBA."""
    if image.mode in ("LAB", "CMYK"):
        colours = in_srgb(image)
        if colours is not None:
            return colours
        warn(f"{name} is in CMYK without a colour profile that can be used; its colours in RGB are estimates.")
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert(("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")))
