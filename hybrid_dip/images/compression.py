"""What a JPEG file says of its own compression: quantisation tables, the resolution of colour, where its blocks lie."""

import io
from dataclasses import dataclass, replace

from PIL import ExifTags, Image

from hybrid_dip.errors import SettingsError, whole_number

BLOCK = 8
"""Side in pixels of the blocks that are transformed."""

Table = tuple[int, ...]

_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_DOWN, _FLIPPED_ACROSS = (3, 4, 7, 8), (2, 3, 6, 7)
"""EXIF orientations whose pixels were transposed, and after that turned upside down or from left to right."""


@dataclass(frozen=True)
class Compression:
    """How the pixels of an image were quantised: 8x8 blocks of brightness and of two colour differences, after a DCT.

    Attributes:
        brightness: Steps of the 64 coefficients, row by row, in grey levels of 255 for an orthonormal DCT.
        colour: The same for the two colour differences; None for a grey image.
        spacing: Pixels from one value of colour to the next, down and across: (2, 2) where colour has half the resolution.
        corner: Place of the image's first pixel in the group of blocks that it belongs to, down and across.
    """

    brightness: Table
    colour: Table | None = None
    spacing: tuple[int, int] = (1, 1)
    corner: tuple[int, int] = (0, 0)

    @property
    def group(self) -> tuple[int, int]:
        """Height and width in pixels of a group of blocks, after which they repeat."""
        return BLOCK * self.spacing[0], BLOCK * self.spacing[1]

    def cut(self, top: int, left: int) -> "Compression":
        """That of a part of the image, which begins at this pixel."""
        (down, across), (height, width) = self.corner, self.group
        return replace(self, corner=((down + top) % height, (across + left) % width))

    def turned(self, orientation: int, size: tuple[int, int]) -> "Compression":
        """That of the image after its EXIF orientation was applied.

        Args:
            orientation: 1 to 8.
            size: Height and width of the image as it is stored.

        Returns:
            Tables and places as they lie after turning. The sign of a coefficient may change, its step does not.
        """
        turned, (height, width) = self, size
        if orientation in _TRANSPOSED:
            colour = None if self.colour is None else _transposed(self.colour)
            turned = Compression(_transposed(self.brightness), colour, self.spacing[::-1], self.corner[::-1])
            height, width = width, height
        (down, across), (tall, wide) = turned.corner, turned.group
        if orientation in _FLIPPED_DOWN:
            down = -(down + height) % tall
        if orientation in _FLIPPED_ACROSS:
            across = -(across + width) % wide
        return replace(turned, corner=(down, across))


def _transposed(table: Table) -> Table:
    return tuple(table[BLOCK * column + row] for row in range(BLOCK) for column in range(BLOCK))


def read_compression(image: Image.Image) -> Compression | None:
    """Read how a file was compressed.

    Args:
        image: A PIL image as it was opened, not yet converted or turned.

    Returns:
        Its compression, as the pixels lie after the EXIF orientation was applied; None where it is no JPEG file, or one of
        other colours than brightness and two differences (CMYK, RGB as such).
    """
    tables, layers = getattr(image, "quantization", None), getattr(image, "layer", None)
    if not tables or not layers or len(layers) != {"L": 1, "RGB": 3}.get(image.mode):
        return None
    names = bytes(name for name, *_ in layers)
    if names == b"RGB" or (image.info.get("adobe_transform", 1) == 0 and len(layers) == 3):
        return None
    used = [tuple(tables[number]) for *_, number in layers]
    found = Compression(used[0])
    if len(layers) == 3:
        (_, across, down, _), second, third = layers
        if used[1] != used[2] or second[1:3] != third[1:3] or across % second[1] or down % second[2]:
            return None
        found = Compression(used[0], used[1], (down // second[2], across // second[1]))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found.turned(orientation, (image.height, image.width))


def compression_of_quality(quality: int, channels: int) -> Compression:
    """How Pillow, and most programs, compress at a quality.

    Args:
        quality: 1 to 100, the scale of the Independent JPEG Group.
        channels: 1 for grey, or 3.

    Returns:
        The compression; colour has half the resolution.

    Raises:
        SettingsError: A quality out of range, or another number of channels.
    """
    quality = whole_number("The quality of a JPEG file", quality)
    if quality > 100 or channels not in (1, 3):
        raise SettingsError(f"JPEG takes a quality of 1 to 100 and 1 or 3 channels, got {quality} and {channels}.")
    buffer = io.BytesIO()
    Image.new("L" if channels == 1 else "RGB", (16, 16)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        found = read_compression(image)
    assert found is not None  # Pillow writes brightness and two differences of colour
    return found
