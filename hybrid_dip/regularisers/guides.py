"""Images that a regulariser compares the estimate with: an exemplar, a guide."""

from functools import lru_cache

from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import load_image

_read = lru_cache(maxsize=4)(load_image)


def guide_like(x: Tensor, guide: str | Tensor, name: str) -> Tensor:
    """An image with as many channels as the estimate, on its device.

    Args:
        x: The estimate, (1, C, H, W).
        guide: File of an image, or an image (1, C', h, w) in [0, 1]; a grey one serves for any number of channels.
        name: Name of the regulariser, for messages.

    Returns:
        (1, C, h, w).

    Raises:
        SettingsError: No guide, or one with another number of channels.
        ImageFileError: The file cannot be read.
    """
    if isinstance(guide, str) and not guide:
        raise SettingsError(f"'{name}' needs an image to compare with: name its file by the option image=FILE.")
    image = (_read(guide) if isinstance(guide, str) else guide).to(x)
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, x.shape[1]):
        raise SettingsError(
            f"The image of '{name}' has the shape {tuple(image.shape)}; (1, {x.shape[1]}, h, w), or a grey one, is needed."
        )
    return image.expand(-1, x.shape[1], -1, -1)


def same_size(x: Tensor, guide: Tensor, name: str) -> Tensor:
    """Refuse a guide of another size than the estimate.

    Args:
        x: The estimate, (1, C, H, W).
        guide: (1, C, h, w).
        name: Name of the regulariser, for messages.

    Returns:
        The guide.

    Raises:
        SettingsError: h, w is not H, W.
    """
    if guide.shape[-2:] != x.shape[-2:]:
        have, want = (f"{side[1]}x{side[0]}" for side in (guide.shape[-2:], x.shape[-2:]))
        raise SettingsError(f"The image of '{name}' is {have}; it is compared pixel by pixel and must be {want}.")
    return guide
