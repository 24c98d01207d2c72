"""Files <-> tensors in [0, 1].

Reads 8-bit and 16-bit PNG and TIFF, JPEG and the other formats of Pillow, and ``.npy`` arrays (H, W) or (H, W, C). EXIF
orientation is applied, palettes become RGB, an alpha channel is kept beside the pixels.
"""

import hashlib
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hybrid_dip.errors import ImageFileError, StorageError
from hybrid_dip.images.atomic import replacing

MOST_PIXELS = 100_000_000
"""Files that claim more pixels are refused before anything is decoded: a small file can claim terabytes."""

FLOAT_LIMIT = 16.0
"""Floating-point arrays must lie within +-16: noise may leave [0, 1], but 0..255 is a mistake of scale."""

Array = npt.NDArray[Any]


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
        raise _too_large(path) from None
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
            with replacing(path) as temporary:
                np.save(temporary, array[..., 0] if array.shape[-1] == 1 else array)
            return
        if array.shape[-1] not in (1, 3):
            raise ImageFileError(f"{path} cannot hold {array.shape[-1]} channels; use a name that ends in .npy.")
        if alpha is not None:
            array = np.concatenate([array, _planes(alpha)], -1)
        if suffix not in Image.registered_extensions():
            raise ImageFileError(f"{path} does not end in an image format's suffix, such as .png; nothing was written.")
        if bits == 16 and suffix in (".tif", ".tiff"):
            _write_tiff16(_rounded(array, 65535).astype(np.uint16), path)
            return
        if bits == 16 and suffix == ".png":
            _write_png16(_rounded(array, 65535).astype(np.uint16), path)
            return
        values = _rounded(array, 255).astype(np.uint8)
        with replacing(path) as temporary:
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
    return _pillow(quantised(x))


def _pillow(values: Array) -> Image.Image:
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def quantised(x: Tensor) -> npt.NDArray[np.uint8]:
    """The values that an 8-bit file holds of an image.

    Args:
        x: (1, C, H, W); values outside [0, 1] are clamped.

    Returns:
        (H, W, C), from 0 to 255.
    """
    return _rounded(_planes(x), 255).astype(np.uint8)


def _planes(x: Tensor) -> Array:
    """(1, C, H, W) -> (H, W, C)."""
    return x.detach().cpu().float()[0].permute(1, 2, 0).numpy()


def _rounded(array: Array, largest: int) -> Array:
    rounded: Array = np.rint(np.clip(array, 0, 1) * largest)
    return rounded


def _too_large(path: Path) -> ImageFileError:
    return ImageFileError(f"{path} claims more than {MOST_PIXELS // 1_000_000} million pixels; crop it before use.")


def _to_tensor(array: Array) -> Tensor:
    """(H, W, C) or (H, W) -> (1, C, H, W)."""
    planes = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(planes.astype(np.float32))).permute(2, 0, 1)[None].contiguous()


def _picture(array: Array, largest: int) -> Picture:
    """Split integers (H, W) or (H, W, C) into colour and alpha; two and four channels have an alpha."""
    x = _to_tensor(array / largest)
    bits = 16 if largest > 255 else 8
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
        raise _too_large(path)
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
        deep = _read_deep_tiff(path)
        if deep is not None:
            return deep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise _too_large(path)
            if head[1:4] == b"PNG" and head[24] == 16:
                return _read_png16(path, opened.getexif().get(_ORIENTATION, 1))
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


def _read_png16(path: Path, orientation: int) -> Picture:
    """Pillow reduces 16-bit colour to 8 bits, so 16-bit PNGs are read by pypng."""
    import png

    try:
        width, height, rows, info = png.Reader(filename=str(path)).read()
        array = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except (png.Error, StopIteration) as error:
        raise ImageFileError(f"{path} is damaged or truncated ({error}); a whole PNG file was expected.") from None
    planes = _upright(array.reshape(height, width, info["planes"]), orientation)
    return _picture(planes[..., 0] if info["planes"] == 1 else planes, 65535)


def _write_png16(array: Array, path: Path) -> None:
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
    with replacing(path) as temporary, temporary.open("wb") as handle:
        writer.write(handle, array.reshape(array.shape[0], -1))


def _write_tiff16(array: Array, path: Path) -> None:
    import tifffile

    colours = array.shape[-1]
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            array[..., 0] if colours == 1 else array,
            photometric="rgb" if colours >= 3 else "minisblack",
            planarconfig="contig" if colours > 1 else None,
            extrasamples=["unassalpha"] if colours in (2, 4) else None,
        )


_ORIENTATION = 0x0112

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


def _upright(array: Array, orientation: int) -> Array:
    return _TURNS.get(orientation, _TURNS[1])(array)


def _read_deep_tiff(path: Path) -> Picture | None:
    """A TIFF whose channels have more than 8 bits, which Pillow does not read in colour; None where they have at most 8."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = cast(Any, tiff.pages[0])
            if page.dtype in (np.dtype(np.uint8), np.dtype(np.bool_)) or page.photometric == 3:
                return None
            if page.photometric not in (0, 1, 2):
                raise ImageFileError(f"{path} is neither grey nor RGB, with more than 8 bits for a channel; convert it to RGB.")
            if page.imagewidth * page.imagelength > MOST_PIXELS:
                raise _too_large(path)
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
        return _picture(65535 - array if inverted else array, 65535)
    if not np.issubdtype(array.dtype, np.floating) or inverted:
        raise ImageFileError(
            f"{path} has {array.dtype} pixels of unknown range; 8 or 16 bits, or floats in [0, 1], were expected."
        )
    _check_floats(path, array)
    x = _to_tensor(array)
    if x.shape[1] in (2, 4):
        return Picture(x[:, :-1].contiguous(), x[:, -1:].contiguous(), bits=16)
    return Picture(x, bits=16)


def fingerprint(x: Tensor) -> str:
    """SHA-256 of the content of a tensor."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
