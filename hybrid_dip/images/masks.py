"""Masks: which pixels are known, said by black and white, by transparency, or by 1 and 0."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images.kinds import AnyImage, as_tensor
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.pillow_images import picture_of
from hybrid_dip.images.reading import read_picture

ROUNDING = 2 / 255
"""How far a value may be from black or white: JPEG rounds by as much."""


def load_mask(path: str | Path) -> Tensor:
    """Read a mask file: white (255) or opaque is a known pixel, black (0) or transparent one to fill in.

    Args:
        path: An image file of black and white only (up to 2 levels off, for JPEG), or whose transparency alone says it; or
            ``.npy`` of 0 and 1, with a channel for each of the image's where single channels are to be filled in.

    Returns:
        (1, 1, H, W), float32, of 0 and 1; (1, C, H, W) where the channels of an array differ.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The file is no readable image, not binary, in colour, or says one thing by its colours and another by
            its transparency.
    """
    return _mask_of(read_picture(path), f"The mask {path}")


def as_mask(mask: AnyImage) -> Tensor:
    """Take a mask of any kind: 1, white, True or opaque is a known pixel, 0, black, False or transparent one to fill in.

    Args:
        mask: A tensor (1, 1 or C, H, W) or an array (H, W) or (H, W, C) of truth values, of 0 and 1, or of 0 and the white of
            its type; a PIL image or a file as for :func:`load_mask`.

    Returns:
        (1, 1 or C, H, W); floats, of tensors and arrays not looked at further.

    Raises:
        SettingsError: It is of another kind.
        ImageFileError: A picture is not binary, in colour, or says one thing by its colours and another by its transparency.
    """
    if isinstance(mask, str | Path):
        return load_mask(mask)
    if isinstance(mask, Image.Image):
        return _mask_of(picture_of(mask, "The mask"), "The mask")
    if isinstance(mask, Tensor | np.ndarray) and _holds_ones(mask):
        mask = mask != 0
    return as_tensor(mask, "The mask")


def _holds_ones(mask: Tensor | npt.NDArray[Any]) -> bool:
    """Whether the mask is of whole numbers whose greatest is 1, so that 1 is what is meant by white."""
    whole = not (mask.is_floating_point() or mask.is_complex()) if isinstance(mask, Tensor) else mask.dtype.kind in "biu"
    return whole and min(mask.shape, default=0) > 0 and float(mask.max()) == 1 and float(mask.min()) == 0


def _mask_of(picture: Picture, name: str) -> Tensor:
    if picture.alpha is None:
        return _known(picture, name)
    known = (picture.alpha >= 1 - ROUNDING).float()
    if not bool((known.bool() | (picture.alpha <= ROUNDING)).all()):
        raise ImageFileError(f"{name} is half transparent in places; fully opaque (known) or transparent was expected.")
    if float(known.min()) == 1:
        return _known(picture, name)
    # Under the transparent parts, programs leave any colour.
    seen = picture.pixels[(known > 0).expand_as(picture.pixels)]
    if seen.numel() and float(seen.min()) <= ROUNDING and float(seen.max()) >= 1 - ROUNDING and _is_binary(seen):
        raise ImageFileError(
            f"{name} has black, white and transparent parts; take either black (to fill in) and white, or transparent "
            "(to fill in) and opaque."
        )
    return known


def _is_binary(values: Tensor) -> bool:
    return bool(((values <= ROUNDING) | (values >= 1 - ROUNDING)).all())


def _known(picture: Picture, name: str) -> Tensor:
    """1 where black and white say that a pixel is known."""
    pixels = picture.pixels
    if picture.is_array and 0 < float(pixels.max()) < 1.5 / 255:  # whole numbers of 0 and 1, read as grey levels
        pixels = (pixels > 0).float()
    if not _is_binary(pixels):
        between = 100 * float(((pixels > ROUNDING) & (pixels < 1 - ROUNDING)).float().mean())
        raise ImageFileError(
            f"{name} must hold only 255 (known pixel) and 0 (to fill in); {between:.2g} % of its values lie between: "
            "save it as PNG without soft edges."
        )
    known = (pixels >= 1 - ROUNDING).float()
    if bool(torch.equal(known, known[:, :1].expand_as(known))):
        return known[:, :1].contiguous()
    if not picture.is_array:
        raise ImageFileError(
            f"{name} is in colour, which would fill in single channels; make it black and white, or ask for that by a "
            ".npy file of 0 and 1, (H, W, C)."
        )
    return known
