"""Observers for a person: a progress bar, PSNR against a reference, frames of an animation.

They live outside the fit, which knows neither the reference nor the screen.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.contracts import Step, Task
from hybrid_dip.images import metrics

FRAME_SIDE = 256
"""Longer side in pixels that frames of an animation are shrunk to."""


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
            image = self.task.in_unit_range(self.task.finish(step.candidate.cpu())).clamp(0, 1)
            shrink = FRAME_SIDE / max(image.shape[-2:])
            if shrink < 1:
                image = F.interpolate(image, scale_factor=shrink, mode="bicubic", antialias=True).clamp(0, 1)
            self.frames.append((image * 255).round().byte())

    def state_dict(self) -> dict[str, Any]:
        """The frames so far, for a checkpoint."""
        return {"frames": list(self.frames)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.frames = list(state["frames"])


class Progress:
    """A bar with the time left, the PSNR against the reference where there is one, and the loss.

    Args:
        steps: Number of steps in total.
        label: Text in front of the bar.
        watch: Measures the PSNR, or None.
        quiet: Show nothing.
    """

    def __init__(self, steps: int, label: str, watch: ReferenceWatch | None, quiet: bool = False):
        self.watch = watch
        self.bar = tqdm(total=steps, desc=label, disable=quiet, unit="step", dynamic_ncols=True, mininterval=0.5)

    def __call__(self, step: Step) -> None:
        """Move the bar."""
        if step.logged:
            shown = {"loss": f"{float(step.losses['total']):.5f}"}
            if self.watch is not None and step.index in self.watch.psnr:
                shown = {"PSNR": f"{self.watch.psnr[step.index]:.2f} dB", **shown}
            self.bar.set_postfix(shown, refresh=False)
        if self.bar.n < step.index:  # a resumed fit starts in the middle
            self.bar.initial = step.index
            self.bar.update(step.index - self.bar.n)
        self.bar.update(1)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
