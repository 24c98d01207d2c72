"""What a mask leaves to fill in, and how much of an image that is."""

from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import warn
from hybrid_dip.problem.operators import Identity

MOST = 0.5
"""A mask of regions that fills in more than this share of the image may be inverted."""


def known_pixels(task: Task) -> Tensor | None:
    """Where all channels of the image to restore were measured.

    Args:
        task: Any task.

    Returns:
        (1, 1, H, W) of 1 and 0; None for a task that fills in no pixels.
    """
    if task.weight is None or not isinstance(task.forward, Identity):
        return None
    return (task.weight > 0).expand(task.shape).all(1, keepdim=True).float()


def in_percent(known: Tensor) -> str:
    """The share that a mask of 1 (known) and 0 fills in, such as ``"12.5 %"``."""
    return f"{100 * (1 - float(known.double().mean())):.3g} %"


def to_fill_in(task: Task) -> str:
    """How much of an image is filled in, as a line: ``"12.5 % to fill in."``; empty for a task that fills in no pixels."""
    if task.weight is None or not isinstance(task.forward, Identity):
        return ""
    what = "to fill in" if task.weight.shape[1] == 1 else "of all values to fill in"
    return f"{in_percent(task.weight)} {what}."


def ask_if_inverted(task: Task) -> None:
    """Warn of a mask of regions that leaves less than half of the image."""
    known = task.weight
    if known is not None and float(known.mean()) < 1 - MOST:
        warn(
            f"The mask fills in {in_percent(known)} of the image: is it inverted? White (255 in a file, 1 in a tensor) is a "
            "known pixel."
        )
