"""Files <-> tensors in [0, 1].

Reads 8-bit and 16-bit PNG and TIFF, JPEG and the other formats of Pillow, and ``.npy`` arrays (H, W) or (H, W, C). EXIF
orientation is applied, palettes become RGB, an alpha channel is kept beside the pixels.
"""

import hashlib
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hybrid_dip.errors import ImageFileError, StorageError
from hybrid_dip.images import deep_formats
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.deep_formats import MOST_PIXELS, Array, too_large

FLOAT_LIMIT = 16.0
"""Floating-point arrays must lie within +-16: noise may leave [0, 1], but 0..255 is a mistake of scale."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Content of an image file.

    Attributes:
        pixels: (1, C, H, W), float32, [0, 1]; arrays from ``.npy`` may leave that range.
        alpha: (1, 1, H, W) in [0, 1], or None.
        bits: Depth to write a result in, 8 or 16.
        is_array: Whether it came from a ``.npy`` file.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    is_array: bool = False

    def alpha_at(self, size: tuple[int, int]) -> Tensor | None:
        """The alpha channel at (H, W), interpolated where the picture has another size."""
        if self.alpha is None or tuple(self.alpha.shape[-2:]) == size:
            return self.alpha
        return F.interpolate(self.alpha, size, mode="bicubic", antialias=True).clamp(0, 1)


def read_picture(path: str | Path) -> Picture:
    """Read an image file, with what is needed to write a result in the same form.

    Args:
        path: A file of any format that Pillow reads, 16-bit PNG and TIFF, or ``.npy``.

    Returns:
        The picture.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The path is a directory, or the file is empty, truncated, too large, no image, or holds NaN.
    """
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
        raise ImageFileError(f"{path} is not an image in a format that can be read; expected PNG, JPEG, TIFF, ...") from None
    except PermissionError:
        raise ImageFileError(f"{path} cannot be read: permission denied.") from None
    except Image.DecompressionBombError:
        raise too_large(path) from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, zlib.error) as error:
        if isinstance(error, ImageFileError):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise ImageFileError(f"{path} is damaged or truncated ({reason}); a whole image file was expected.") from None


def load_image(path: str | Path) -> Tensor:
    """Read an image file.

    Args:
        path: A file of any format that Pillow reads, 16-bit PNG and TIFF, or ``.npy`` with shape (H, W) or (H, W, C).

    Returns:
        (1, C, H, W), float32, in [0, 1]; C is 1 for grey and 3 for colour images, an alpha channel is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The path is a directory, or the file is empty, truncated, too large, no image, or holds NaN.
    """
    return read_picture(path).pixels


def load_mask(path: str | Path) -> Tensor:
    """Read a mask file: 255 (white) marks a known pixel, 0 (black) one to fill in.

    Args:
        path: An image file whose values are 0 and 255 only (up to 2 off, for JPEG), or ``.npy`` of 0 and 1.

    Returns:
        (1, 1, H, W), float32, of 0 and 1; (1, C, H, W) where the mask's channels differ.

    Raises:
        FileNotFoundError: There is no such file.
        ImageFileError: The file is no readable image, or not binary.
    """
    picture = read_picture(path)
    pixels = picture.pixels
    if picture.is_array and 0 < float(pixels.max()) < 1.5 / 255:  # whole numbers of 0 and 1, read as grey levels
        pixels = (pixels > 0).float()
    near_black, near_white = pixels <= 2 / 255, pixels >= 1 - 2 / 255
    if not bool((near_black | near_white).all()):
        share = 100 * float((~(near_black | near_white)).float().mean())
        raise ImageFileError(
            f"The mask {path} must hold only 255 (known pixel) and 0 (to fill in); {share:.2g} % of its values lie between."
        )
    known = near_white.float()
    return known[:, :1].contiguous() if bool((known == known[:, :1]).all()) else known


def save_image(x: Tensor, path: str | Path, *, alpha: Tensor | None = None, bits: int = 8) -> None:
    """Write an image file, whole or not at all.

    Args:
        x: (1, C, H, W); values outside [0, 1] are clamped, except for ``.npy``, which takes any C and keeps them.
        path: The file to write; its suffix chooses the format.
        alpha: (1, 1, H, W), written as transparency by formats that have it.
        bits: Depth of a channel, 8, or 16 for PNG and TIFF.

    Raises:
        ImageFileError: The format cannot hold the image.
        StorageError: The file cannot be written.
    """
    path = Path(path)
    if x.ndim != 4 or x.shape[0] != 1:
        raise ImageFileError(f"An image of shape (1, C, H, W) was expected for {path}, got {tuple(x.shape)}.")
    array = _planes(x)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            with replacement(path) as temporary:
                np.save(temporary, array[..., 0] if array.shape[-1] == 1 else array)
            return
        if array.shape[-1] not in (1, 3):
            raise ImageFileError(f"{path} cannot hold {array.shape[-1]} channels; use a name that ends in .npy.")
        if alpha is not None:
            array = np.concatenate([array, _planes(alpha)], -1)
        if suffix not in Image.registered_extensions():
            raise ImageFileError(f"{path} does not end in an image format's suffix, such as .png; nothing was written.")
        if bits == 16 and suffix in (".tif", ".tiff"):
            deep_formats.write_tiff(_round(array, 65535).astype(np.uint16), path)
            return
        if bits == 16 and suffix == ".png":
            deep_formats.write_png(_round(array, 65535).astype(np.uint16), path)
            return
        values = _round(array, 255).astype(np.uint8)
        with replacement(path) as temporary:
            _pillow(values).save(temporary)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from None
    except (KeyError, ValueError) as error:
        if isinstance(error, ImageFileError):
            raise
        raise ImageFileError(f"{path} cannot be written: {error}.") from None


def crop_to_centre(x: Tensor, size: int, scale: int = 1) -> Tensor:
    """The centre ``size`` x ``size`` of an image, or all of a side that is shorter.

    Args:
        x: (1, C, H, W).
        size: Side of the crop, in pixels of the unscaled image.
        scale: How many times larger x is than the image whose crop it has to match.

    Returns:
        (1, C, min(H, scale size), min(W, scale size)).
    """
    top, left = (max(0, (side // scale - size) // 2) * scale for side in x.shape[-2:])
    return x[..., top : top + scale * size, left : left + scale * size]


def as_pillow(x: Tensor) -> Image.Image:
    """An image as Pillow's, with 8 bits for each channel.

    Args:
        x: (1, C, H, W), C 1 or 3; values outside [0, 1] are clamped.

    Returns:
        An image of mode L or RGB.
    """
    return _pillow(quantise(x))


def _pillow(values: Array) -> Image.Image:
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def quantise(x: Tensor) -> npt.NDArray[np.uint8]:
    """The values that an 8-bit file holds of an image.

    Args:
        x: (1, C, H, W); values outside [0, 1] are clamped.

    Returns:
        (H, W, C), from 0 to 255.
    """
    return _round(_planes(x), 255).astype(np.uint8)


def _planes(x: Tensor) -> Array:
    """(1, C, H, W) -> (H, W, C)."""
    return x.detach().cpu().float()[0].permute(1, 2, 0).numpy()


def _round(array: Array, largest: int) -> Array:
    rounded: Array = np.rint(np.clip(array, 0, 1) * largest)
    return rounded


def _to_tensor(array: Array) -> Tensor:
    """(H, W, C) or (H, W) -> (1, C, H, W)."""
    planes = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(planes.astype(np.float32))).permute(2, 0, 1)[None].contiguous()


def _picture(array: Array, largest: int) -> Picture:
    """Split (H, W) or (H, W, C), where ``largest`` is white, into colour and alpha; two and four channels have an alpha."""
    x = _to_tensor(array / largest)
    bits = 8 if largest == 255 else 16
    if x.shape[1] in (2, 4):
        return Picture(x[:, :-1].contiguous(), x[:, -1:].contiguous(), bits)
    return Picture(x, None, bits)


def _read_npy(path: Path) -> Picture:
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
        largest = np.iinfo(array.dtype).max
        return Picture(_to_tensor(np.asarray(array) / largest), bits=16, is_array=True)
    if array.dtype == np.bool_ or (np.issubdtype(array.dtype, np.integer) and np.isin(array, (0, 1)).all()):
        return Picture(_to_tensor(np.asarray(array)), is_array=True)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageFileError(f"{path} has the type {array.dtype}; floats in [0, 1], uint8, uint16 or bool were expected.")
    _check_floats(path, array)
    return Picture(_to_tensor(np.asarray(array)), bits=16, is_array=True)


def _check_floats(path: Path, array: Array) -> None:
    if not np.isfinite(array).all():
        raise ImageFileError(f"{path} holds NaN or Inf; finite numbers in [0, 1] were expected.")
    low, high = float(array.min()), float(array.max())
    if max(-low, high) > FLOAT_LIMIT:
        raise ImageFileError(f"{path} has values from {low:.3g} to {high:.3g}; floats in [0, 1] were expected.")


def _read_image(path: Path) -> Picture:
    with path.open("rb") as handle:
        head = handle.read(32)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        deep = deep_formats.read_tiff(path)
        if deep is not None and deep.dtype == np.uint16:
            return _picture(deep, 65535)
        if deep is not None:
            _check_floats(path, deep)
            return _picture(deep, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise too_large(path)
            if head[1:4] == b"PNG" and head[24] == 16:
                return _picture(deep_formats.read_png(path, opened.getexif().get(ExifTags.Base.Orientation, 1)), 65535)
            opened.load()
            image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        return _picture(np.asarray(image), 65535)
    if image.mode in ("I", "F"):
        raise ImageFileError(f"{path} has 32-bit pixels of unknown range; save it as 16-bit PNG or as .npy in [0, 1].")
    return _picture(np.asarray(image.convert(_plain_mode(image))), 255)


def _plain_mode(image: Image.Image) -> str:
    """L, LA, RGB or RGBA, whichever loses nothing."""
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")


def fingerprint(x: Tensor) -> str:
    """SHA-256 of the content of a tensor."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
