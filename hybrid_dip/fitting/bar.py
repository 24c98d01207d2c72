"""What a person sees while a fit goes on: a bar, and in a notebook a small picture."""

import sys
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from hybrid_dip.contracts import Step
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.images.notebook import in_notebook


def is_shown(progress: bool | str | None) -> bool:
    """Whether a person is shown how a fit goes on.

    Args:
        progress: Whether it was asked for, or the text in front of the bar; None: in a notebook, or where stderr is a terminal.

    Returns:
        The answer.
    """
    if progress is None:
        return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    return bool(progress)


class Bar:
    """A bar with the time left, the PSNR against the reference where there is one, and the loss.

    Args:
        steps: Number of steps in total.
        label: Text in front of the bar.
        watch: Measures the PSNR, or None.
    """

    def __init__(self, steps: int, label: str, watch: ReferenceWatch | None = None):
        self.watch = watch
        self.bar = tqdm(total=steps, desc=label, unit="step", dynamic_ncols=True, mininterval=0.5)

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
        if in_notebook():  # which would paint it red: a fit that a rule ends early has not failed
            self.bar.total = self.bar.n
        self.bar.close()


class Screen:
    """A place in a notebook's output that shows one picture, the newest."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, step: int, picture: Tensor) -> None:
        """Take the place of the picture before."""
        from IPython.display import display
        from PIL import Image

        pixels = Image.fromarray(picture[0].permute(1, 2, 0).squeeze(-1).numpy())
        if self._handle is None:
            self._handle = display(pixels, display_id=True)
        else:
            self._handle.update(pixels)
