"""Pictures that are part of the page: PNG in base64."""

import base64
import io

from PIL import Image
from torch import Tensor

from hybrid_dip.images.figures import visible_channels
from hybrid_dip.images.picture import quantise


def as_png(x: Tensor) -> str:
    """An image as a data URL.

    Args:
        x: (1, C, H, W) in [0, 1].

    Returns:
        "data:image/png;base64,...".
    """
    values = quantise(visible_channels(x))
    buffer = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(buffer, "PNG", optimize=True)
    return as_url(buffer.getvalue())


def as_url(png: bytes) -> str:
    """A PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
