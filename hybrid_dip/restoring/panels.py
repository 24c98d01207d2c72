"""What is shown of a restoration: the observation, images, and the clean one, each with its PSNR."""

from collections.abc import Mapping

from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.images import metrics


def panels(task: Task, images: Mapping[str, Tensor], reference: Tensor | None) -> dict[str, Tensor]:
    """Images to be drawn side by side.

    Args:
        task: What was restored.
        images: Title -> finished image, (1, C, H, W).
        reference: The clean image, or None.

    Returns:
        Title -> image in units of its range: the observation where it is an image, the images, and the clean one where there is
        one. Titles have the PSNR where it can be taken.
    """
    y = task.observation
    shown = {"observation": y, **images} if y.ndim == 4 and y.shape[1] <= task.shape[1] else images
    visible = {title: task.in_unit_range(image, reference) for title, image in shown.items()}
    if reference is None:
        return visible
    truth = task.in_unit_range(reference, reference)
    return {title + _decibels(image, truth): image for title, image in visible.items()} | {"reference": truth}


def _decibels(image: Tensor, truth: Tensor) -> str:
    return f", {metrics.psnr(image.clamp(0, 1), truth):.2f} dB" if image.shape == truth.shape else ""
