"""What a file says of its image beside the pixels: the colour profile, the resolution, and when it was taken."""

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms

_DATE = ExifTags.Base.DateTime
_TAKEN = (
    ExifTags.Base.DateTimeOriginal,
    ExifTags.Base.DateTimeDigitized,
    ExifTags.Base.OffsetTime,
    ExifTags.Base.OffsetTimeOriginal,
    ExifTags.Base.OffsetTimeDigitized,
    ExifTags.Base.SubsecTime,
    ExifTags.Base.SubsecTimeOriginal,
    ExifTags.Base.SubsecTimeDigitized,
)
_SPACES = {1: b"GRAY", 3: b"RGB "}
"""Number of colour channels -> the colour space that a profile for them names."""


@dataclass(frozen=True)
class Properties:
    """What is carried over from a degraded file to the restored one.

    Attributes:
        profile: ICC profile, or None.
        dpi: Pixels per inch, across and down, or None.
        dates: EXIF tag -> text: when it was taken, digitised and changed.
    """

    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    dates: Mapping[int, str] = field(default_factory=dict)

    def profile_of(self, channels: int) -> bytes | None:
        """The profile, where it is made for that number of colour channels."""
        fits = self.profile is not None and self.profile[16:20] == _SPACES.get(channels) and self.profile[36:40] == b"acsp"
        return self.profile if fits else None

    @property
    def date(self) -> str | None:
        """When it was taken, or else changed: "2026:01:31 12:00:00"; None where the text is no such date."""
        text = self.dates.get(ExifTags.Base.DateTimeOriginal, self.dates.get(_DATE, ""))
        return text if re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", text) else None

    def exif(self) -> bytes:
        """The dates as a block of EXIF; empty where there are none."""
        if not self.dates:
            return b""
        exif = Image.Exif()
        for tag, text in self.dates.items():
            (exif if tag == _DATE else exif.get_ifd(ExifTags.IFD.Exif))[tag] = text
        return exif.tobytes()

    def for_pillow(self, channels: int) -> dict[str, Any]:
        """Options of Pillow's ``save``, which leaves out what a format has no place for.

        Args:
            channels: Number of colour channels of the image that is saved.

        Returns:
            Option -> value.
        """
        options = {"icc_profile": self.profile_of(channels), "dpi": self.dpi, "exif": self.exif()}
        return {name: value for name, value in options.items() if value}


def read_properties(image: Image.Image) -> Properties:
    """Read what stands beside the pixels.

    Args:
        image: An opened file.

    Returns:
        Its properties; what is damaged is left out.
    """
    exif = image.getexif()
    taken = exif.get_ifd(ExifTags.IFD.Exif)
    found = {_DATE: exif.get(_DATE), **{tag: taken.get(tag) for tag in _TAKEN}}
    dates = {int(tag): text.strip("\0 ") for tag, text in found.items() if isinstance(text, str) and text.strip("\0 ")}
    return Properties(image.info.get("icc_profile") or None, _resolution(image.info.get("dpi")), dates)


def _resolution(found: Any) -> tuple[float, float] | None:
    """Two numbers of pixels per inch, where they can be meant: 1 is what programs write that know none."""
    try:
        across, down = map(float, found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(side) and 1 < side < 1e6 for side in (across, down)) else None


def in_srgb(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """The colours of a CMYK or Lab image, as a screen shows them.

    Args:
        image: Of mode CMYK or LAB.

    Returns:
        (H, W, 3); None for inks without a profile that can be used.
    """
    try:
        lab = image.mode == "LAB"
        own = ImageCms.createProfile("LAB") if lab else io.BytesIO(image.info.get("icc_profile") or b"")
        return np.asarray(ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB"))
    except (ImageCms.PyCMSError, OSError):
        return None
