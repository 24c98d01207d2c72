"""Files <-> tensors in [0, 1].

Reads 8-bit and 16-bit PNG, TIFF and PNM, JPEG and the other formats of Pillow, and ``.npy`` arrays (H, W) or (H, W, C). EXIF
orientation is applied, palettes become RGB. An alpha channel and the file's properties are kept beside the pixels.
"""

import hashlib
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hybrid_dip.contracts import Record
from hybrid_dip.errors import ImageFileError, check_kind, warn
from hybrid_dip.images.arrays import FLOAT_LIMIT, check_floats, read_npy
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.deep_formats import MOST_PIXELS, Array, read_png, read_pnm, too_large, write_png, write_pnm
from hybrid_dip.images.properties import Properties, in_srgb, read_properties
from hybrid_dip.images.tiff_files import read_tiff, write_tiff

DEEP_WRITERS: dict[str, Callable[[Array, Path, Properties], None]] = {
    ".png": write_png,
    **dict.fromkeys((".tif", ".tiff"), write_tiff),
    **dict.fromkeys((".pgm", ".ppm", ".pnm"), write_pnm),
}
"""Suffix -> what writes 16 bits for each channel."""

_FRAMED = ("GIF", "PNG", "WEBP", "AVIF")
"""Formats that may hold an animation; the second images of others are previews or depths."""


@dataclass(frozen=True, eq=False, repr=False)
class Picture(Record):
    """Content of an image file.

    Attributes:
        pixels: (1, C, H, W), float32, [0, 1]; arrays from ``.npy`` may leave that range.
        alpha: (1, 1, H, W) in [0, 1], or None.
        bits: Depth to write a result in, 8 or 16.
        is_array: Whether it came from a ``.npy`` file.
        about: Its colour profile, resolution and dates.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    is_array: bool = False
    about: Properties = field(default_factory=Properties)

    def alpha_at(self, size: tuple[int, int]) -> Tensor | None:
        """The alpha channel at (H, W), interpolated where the picture has another size."""
        if self.alpha is None or tuple(self.alpha.shape[-2:]) == size:
            return self.alpha
        return F.interpolate(self.alpha, size, mode="bicubic", antialias=True).clamp(0, 1)


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
    x: Tensor,
    path: str | Path,
    *,
    alpha: Tensor | None = None,
    bits: int = 8,
    like: Picture | str | Path | None = None,
    mask: Tensor | None = None,
) -> None:
    """Write an image file, whole or not at all.

    Args:
        x: (1, C, H, W); values outside [0, 1] are clamped, except for ``.npy``, which takes any C and keeps them.
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
    check_kind("The image to write", x, Tensor, "a tensor (1, C, H, W), and comes first")
    check_kind("The file to write", path, str | Path, "a path")
    path = Path(path)
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
    if not x.is_floating_point():
        raise ImageFileError(f"Floating-point values in [0, 1] were expected for {path}, got {x.dtype}: divide 8 bits by 255.")
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
    array, suffix = _planes(x), path.suffix.lower()
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
        array = np.concatenate([array, _planes(alpha)], -1)
    if bits == 16 and suffix in DEEP_WRITERS:
        DEEP_WRITERS[suffix](_round(array, 65535).astype(np.uint16), path, about)
        return
    values = _round(array, 255).astype(np.uint8)
    with replacement(path) as temporary:
        _pillow(values).save(temporary, **about.for_pillow(colours))


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


def _picture(values: Array, white: int, bits: int, about: Properties, has_alpha: bool | None = None) -> Picture:
    """Split (H, W) or (H, W, C) into colour and alpha; without a word on it, two and four channels have an alpha."""
    x = _to_tensor(values / white)
    if has_alpha if has_alpha is not None else x.shape[1] in (2, 4):
        return Picture(x[:, :-1].contiguous(), x[:, -1:].contiguous(), bits, about=about)
    return Picture(x, None, bits, about=about)


def _read_npy(path: Path) -> Picture:
    values, white, bits = read_npy(path)
    return Picture(_to_tensor(values / white), bits=bits, is_array=True)


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
                return _picture(samples.values, samples.white, samples.bits, _properties(path), samples.has_alpha)
        deep = read_pnm(path) if head[:2] in (b"P2", b"P3", b"P5", b"P6") else None
        if deep is not None:
            return _picture(*deep, 16, Properties())
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise too_large(path)
            about = read_properties(opened)
            if opened.format in _FRAMED and getattr(opened, "is_animated", False):
                warn(f"{path} has several frames; the first is taken.")
            if head[1:4] == b"PNG" and head[24] == 16:
                return _picture(read_png(path, opened.getexif().get(ExifTags.Base.Orientation, 1)), 65535, 16, about)
            opened.load()
            image = ImageOps.exif_transpose(opened)
    if image.mode == "F":
        values = np.asarray(image)
        check_floats(path, values)
        return _picture(values, 1, 16, about)
    if image.mode.startswith("I;16"):
        return _picture(np.asarray(image), 65535, 16, about)
    if image.mode == "I":
        raise ImageFileError(f"{path} has 32-bit pixels of unknown range; save it as 16-bit PNG or as .npy in [0, 1].")
    if head[1:4] == b"PNG":
        _spread_transparency(image, head[24])
    return _picture(_eight_bits(path, image), 255, 8, about)


def _properties(path: Path) -> Properties:
    """What a TIFF says of its pixels, where Pillow can open it: it knows fewer kinds of pixels than files have."""
    try:
        with Image.open(path) as opened:
            return read_properties(opened)
    except (OSError, SyntaxError, ValueError):
        return Properties()


def _spread_transparency(image: Image.Image, depth: int) -> None:
    """Scale the grey level that is transparent along with the others: Pillow spreads 2 and 4 bits to 8, but not this one."""
    if image.mode == "L" and depth in (2, 4) and "transparency" in image.info:
        image.info["transparency"] *= 255 // (2**depth - 1)


def _eight_bits(path: Path, image: Image.Image) -> Array:
    """(H, W) or (H, W, C) from 0 to 255, with nothing lost: L, LA, RGB or RGBA."""
    if image.mode in ("LAB", "CMYK"):
        colours = in_srgb(image)
        if colours is not None:
            return colours
        warn(f"{path} is in CMYK without a colour profile that can be used; its colours in RGB are estimates.")
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert(("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")))


def fingerprint(x: Tensor) -> str:
    """SHA-256 of the content of a tensor."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
