"""Observers for a person: PSNR against a reference, frames of an animation, a few pictures along a fit.

They live outside the fit, which knows neither the reference nor the screen.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Step, Task
from hybrid_dip.images import metrics
from hybrid_dip.images.figures import visible_channels

FRAME_SIDE = 256
"""Longer side in pixels that frames of an animation are shrunk to."""
GROWTH = 1.5
"""A fit's few pictures are each this many times as far along as the one before: about ten in 3000 steps."""


class ReferenceWatch:
    """PSNR of the finished candidate at each logged step.

    Args:
        task: The task, which finishes images.
        reference: The clean image, on any device.
    """

    def __init__(self, task: Task, reference: Tensor):
        self.task = task
        self.reference = reference
        self.psnr: dict[int, float] = {}

    def __call__(self, step: Step) -> None:
        """Look at a step."""
        if step.logged:
            image, reference = self.task.finish(step.candidate.cpu()), self.reference
            image, truth = (self.task.in_unit_range(x, reference) for x in (image, reference))
            self.psnr[step.index] = metrics.psnr(image, truth)

    def state_dict(self) -> dict[str, Any]:
        """The values so far, for a checkpoint."""
        return {"psnr": self.psnr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.psnr = dict(state["psnr"])


class Frames:
    """Small pictures of the candidate at logged steps, for an animation.

    Args:
        task: The task, which finishes images.
    """

    def __init__(self, task: Task):
        self.task = task
        self.frames: list[Tensor] = []

    def __call__(self, step: Step) -> None:
        """Look at a step."""
        if step.logged:
            finished = self.task.finish(step.candidate.cpu())
            self.frames.append(thumbnail(self.task.in_unit_range(finished), FRAME_SIDE))

    def state_dict(self) -> dict[str, Any]:
        """The frames so far, for a checkpoint."""
        return {"frames": list(self.frames)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.frames = list(state["frames"])


def thumbnail(image: Tensor, side: int) -> Tensor:
    """A picture that is no larger than a number of pixels.

    Args:
        image: (1, C, H, W), any number of channels, in [0, 1].
        side: Most pixels of its longer side; a larger image is shrunk.

    Returns:
        (1, 3, h, w) or (1, 1, h, w), bytes.
    """
    image = visible_channels(image)
    shrink = side / max(image.shape[-2:])
    if shrink < 1:
        image = F.interpolate(image, scale_factor=shrink, mode="bicubic", antialias=True)
    return (image.clamp(0, 1) * 255).round().byte()


class FewPictures:
    """Shows the candidate at a few logged steps, close together at first, where it changes most, and at the end of the fit.

    Args:
        show: Function of the step and a picture of bytes, (1, 3, h, w) or (1, 1, h, w).
        task: The task, of the whole image also where a tile is fitted: it says what is black, and what is white.
        side: Most pixels of the picture's longer side.
    """

    def __init__(self, show: Callable[[int, Tensor], object], task: Task, side: int = FRAME_SIDE):
        self.show, self.task, self.side = show, task, side
        self._next = 0
        self._unseen: tuple[int, Tensor] | None = None

    def __call__(self, step: Step) -> None:
        """Look at a step."""
        if not step.logged:
            return
        self._unseen = (step.index, step.candidate)
        if step.index >= self._next:
            self._next = max(step.index + 1, math.ceil(GROWTH * step.index))
            self.close()

    def close(self) -> None:
        """Show what was logged last, unless it has been shown."""
        if self._unseen is not None:
            index, image = self._unseen
            self._unseen = None
            self.show(index, thumbnail(self.task.in_unit_range(image.detach().cpu()), self.side))
