"""What a user gives to make a task of: checked, with one sentence where it is something else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError, check_kind

TENSOR = "a tensor (1, C, H, W), such as hd.load_image gives of a file"


def one_image(image: Tensor, what: str = "The observation") -> Tensor:
    """Take an image.

    Args:
        image: (1, C, H, W), finite.
        what: What it is called in the sentence.

    Returns:
        It in single precision, without a graph.

    Raises:
        SettingsError: It is no tensor, of another shape, or not finite.
    """
    check_kind(what, image, Tensor, TENSOR)
    if image.ndim != 4 or image.shape[0] != 1:
        raise SettingsError(f"{what} must have the shape (1, C, H, W), got {tuple(image.shape)}.")
    if not bool(torch.isfinite(image).all()):
        raise SettingsError(f"{what} holds NaN or Inf; finite numbers in [0, 1] were expected.")
    return image.detach().float()


def whole_shape(shape: Sequence[int] | None, y: Tensor) -> tuple[int, int, int, int]:
    """Take the shape of the image to restore: (1, C, H, W), or its end, the rest as in y.

    Args:
        shape: The shape, or None for that of y.
        y: The observation.

    Returns:
        (1, C, H, W).

    Raises:
        SettingsError: It is no shape.
    """
    if shape is None or (isinstance(shape, Sequence) and not isinstance(shape, str)):
        given = tuple(shape or ())
        whole = (*y.shape[: max(0, 4 - len(given))], *given)
        if len(whole) == 4 and all(isinstance(side, int) and side > 0 for side in whole):
            return whole[0], whole[1], whole[2], whole[3]
    raise SettingsError(f"The image to restore must be of a shape (1, C, H, W), got {shape} for y of {tuple(y.shape)}.")


def check_weight(weight: Tensor | None, y: Tensor) -> None:
    """Refuse a weight that does not broadcast to y.

    Args:
        weight: What was given for one, or None.
        y: The observation.

    Raises:
        SettingsError: It does not, or is no tensor.
    """
    check_kind("The weight", weight, Tensor | None, "a tensor")
    if weight is not None:
        try:
            weight.expand_as(y)
        except RuntimeError:
            raise SettingsError(
                f"The weight of shape {tuple(weight.shape)} does not broadcast to y, {tuple(y.shape)}."
            ) from None
