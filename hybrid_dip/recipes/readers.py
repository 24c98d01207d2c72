"""How the values of a task's options are read, where they are more than a number or a word."""

from collections.abc import Sequence

from torch import Tensor

from hybrid_dip.contracts import Fidelity
from hybrid_dip.errors import ImageFileError, SettingsError, nearest
from hybrid_dip.images.reading import read_picture
from hybrid_dip.problem import operators
from hybrid_dip.problem.noise import NOISES

MOST_GREY_LEVELS = 2550
"""Ten times the range of an image: more noise than any image survives."""


def read_psf(text: str) -> Tensor:
    """Read a point spread function.

    Args:
        text: ``gaussian:SIGMA``, in pixels, or the path of a grey image or ``.npy`` file.

    Returns:
        (h, w), not normalised.

    Raises:
        SettingsError: What follows the colon is no number.
        ImageFileError: The file cannot be read, or is in colour.
    """
    kind, colon, value = text.partition(":")
    if colon and kind == "gaussian":
        try:
            return operators.gaussian_psf(float(value))
        except ValueError as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(f"gaussian: takes a deviation in pixels, such as gaussian:1.5; got '{value}'.") from None
    pixels = read_picture(text).pixels
    if pixels.shape[1] != 1 and not bool((pixels == pixels[:, :1]).all()):
        raise ImageFileError(f"The PSF {text} is in colour; a grey image or a plane in .npy was expected.")
    return pixels[0, 0]


def read_shape(given: str | Sequence[int]) -> tuple[int, ...]:
    """Read the shape of an image.

    Args:
        given: ``H,W`` or ``C,H,W``, as text or as a list.

    Returns:
        Two or three numbers.

    Raises:
        SettingsError: It is not two or three whole numbers.
    """
    parts = given.split(",") if isinstance(given, str) else [str(part) for part in given]
    if not 2 <= len(parts) <= 3 or not all(part.strip().isdecimal() for part in parts):
        raise SettingsError(f"A shape is H,W or C,H,W in pixels, such as 256,128; got {given!r}.")
    return tuple(map(int, parts))


CAMERA = "camera"
"""Noise that the image itself tells: its level by the brightness, and how far it is alike between neighbours."""


def read_noise(name: str) -> Fidelity:
    """Look up the fidelity of a noise model; raises SettingsError where there is none of the name."""
    if name.lower() not in NOISES:
        raise SettingsError(f"Unknown noise '{name}': {nearest(name.lower(), [*NOISES, CAMERA])}.")
    return NOISES[name.lower()]


def read_sigma(grey_levels: float) -> float:
    """Turn a noise level of 0..255 into one of [0, 1]; raises SettingsError where it is out of range."""
    if not isinstance(grey_levels, int | float) or not 0 <= grey_levels <= MOST_GREY_LEVELS:
        raise SettingsError(f"sigma is in grey levels of 255, at least 0 and at most {MOST_GREY_LEVELS}, got {grey_levels!r}.")
    return grey_levels / 255
