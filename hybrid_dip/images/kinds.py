"""Images as people have them: torch tensors, NumPy arrays, PIL images and files, to tensors and back to what they were."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.errors import SettingsError, describe_given, warn
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.pillow_images import as_pillow, picture_of
from hybrid_dip.images.reading import read_picture

AnyImage: TypeAlias = Tensor | npt.NDArray[Any] | Image.Image | str | Path | Picture
"""A tensor (1, C, H, W), an array (H, W) or (H, W, C), a PIL image, the path of an image file, or what was read from one."""

WHITE = {"bool": 1, "uint8": 255, "uint16": 65535}
"""Type of whole numbers -> the value of white."""
KINDS = "a tensor (1, C, H, W), an array (H, W) or (H, W, C), a PIL image or the path of an image file"


def as_tensor(image: AnyImage, what: str = "The image") -> Tensor:
    """Take an image of any kind.

    Args:
        image: A tensor of any shape; an array (H, W) or (H, W, C); a PIL image; or a path. Whole numbers are scaled by their
            type: 255 of uint8 and 65535 of uint16 are 1. Floats are taken as they are.
        what: What it is called in a sentence.

    Returns:
        A float tensor; (1, C, H, W) for all but tensors, which keep their shape. Transparency is left out.

    Raises:
        SettingsError: It is of another kind, shape or type.
        FileNotFoundError: There is no such file.
        ImageFileError: The file cannot be read.
    """
    if isinstance(image, Tensor):
        return _scaled(image, what)
    if isinstance(image, np.ndarray):
        return _scaled(torch.from_numpy(_planes_first(image, what)), what)
    if isinstance(image, Image.Image | str | Path | Picture):
        return _picture(image).pixels
    raise SettingsError(f"{what} must be {KINDS}; got {describe_given(image)}.")


def as_given(x: Tensor, given: AnyImage, opaque: Tensor | None = None) -> Any:
    """Return an image in the kind of another.

    Args:
        x: (1, C, H, W) in [0, 1].
        given: What it was made of. Its type of numbers is kept, and the transparency and colour profile of a picture.
        opaque: 1 where the image is not transparent, whatever the given one was, 0 elsewhere; (1, 1, H, W).

    Returns:
        A tensor, array or PIL image as the given one was; a PIL image for a path.
    """
    if isinstance(given, Tensor):
        back = _in_type(x, str(given.dtype).removeprefix("torch."))
        return back.to(given.device, given.dtype if given.is_floating_point() else back.dtype)
    if isinstance(given, np.ndarray):
        planes = _in_type(x, given.dtype.name)[0].permute(1, 2, 0).contiguous().numpy()
        planes = planes.astype(given.dtype.newbyteorder("=")) if given.dtype.kind == "f" else planes
        return planes[..., 0] if given.ndim == 2 and planes.shape[-1] == 1 else planes
    picture = _picture(given)
    alpha = picture.alpha_at((x.shape[-2], x.shape[-1]))
    if alpha is not None and opaque is not None:
        alpha = torch.where(opaque > 0, 1.0, alpha)
    return as_pillow(x, alpha, picture.bits, picture.about)


def opened(image: AnyImage) -> AnyImage:
    """Read a file or a PIL image with all that it says of itself; take any other image as it is.

    Args:
        image: As for :func:`as_tensor`.

    Returns:
        A picture, a tensor or an array.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The file cannot be read.
    """
    return _picture(image) if isinstance(image, Image.Image | str | Path) else image


def _picture(image: Image.Image | str | Path | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    return picture_of(image) if isinstance(image, Image.Image) else read_picture(image)


def _scaled(x: Tensor, what: str) -> Tensor:
    """Floats as they are; whole numbers divided by the white of their type."""
    name = str(x.dtype).removeprefix("torch.")
    if x.is_floating_point() or x.is_complex():
        return x
    if name not in WHITE:
        raise SettingsError(
            f"{what} holds whole numbers of the type {name}, whose white is not known: give uint8, uint16 or floats in [0, 1]."
        )
    return x.float() / WHITE[name]


def _in_type(x: Tensor, name: str) -> Tensor:
    """An image in [0, 1] as whole numbers of a type; truth values become floats, for a restored image has grey levels."""
    x = x.detach().cpu()
    if name in ("uint8", "uint16"):
        return (x.clamp(0, 1) * WHITE[name]).round().to(getattr(torch, name))
    return x


def _planes_first(array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    """(H, W) or (H, W, C) -> (1, C, H, W)."""
    if isinstance(array, np.ma.MaskedArray) and array.mask is not np.ma.nomask:
        raise SettingsError(f"{what} is a masked array, whose mask would be lost: give the plain array, and a mask to inpaint.")
    if array.dtype.kind not in "buifc":
        raise SettingsError(f"{what} is an array of {array.dtype}; uint8, uint16 or floats in [0, 1] were expected.")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise SettingsError(f"{what} is an array of the shape {array.shape}; (H, W) or (H, W, C) was expected.")
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] > 4:
        raise SettingsError(
            f"{what} is an array of the shape {array.shape}, which seems to be (C, H, W); (H, W, C) was expected, as "
            "np.moveaxis(array, 0, -1) gives."
        )
    if array.ndim == 3 and array.shape[2] == 4 and array.dtype.kind == "u":
        warn(
            f"{what} has four channels, and the fourth is taken for a colour: if it is transparency, give image[..., :3], or "
            "Image.fromarray(image), which keeps it apart."
        )
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8  # more digits than a tensor can have
    native = np.array(array, dtype=np.dtype(np.float64) if wide else array.dtype.newbyteorder("="))
    return np.ascontiguousarray((native[..., None] if array.ndim == 2 else native).transpose(2, 0, 1)[None])
