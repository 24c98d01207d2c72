"""Early stopping where the images vary least (ES-WMV and ES-EMV, Wang et al. 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.stopping.least import check_patience, keep_least, start_least

RING_ENTRIES = 2**16
"""Most entries of an image that the windowed variance looks at: with a window of 100 they take 26 MB."""
MOST_IMAGES = 5000
"""Longest window that makes sense, and fits into a laptop's memory."""


@dataclass(frozen=True)
class WindowedVariance:
    """ES-WMV (Wang et al. 2021, "Early Stopping for Deep Image Prior"): keep the iterate where the images vary least.

    Over the last ``window`` images VAR = 1/W sum_i ||x_i - mean||^2. The image at the smallest VAR is kept; the fit ends when
    VAR has had no new minimum for ``patience`` steps. Of larger images a fixed random choice of :data:`RING_ENTRIES` entries is
    looked at, which bounds the memory. The default is the paper's setting, W = 100 and a patience of 1000 at learning rate
    0.01. A fit shorter than the patience takes all its steps and keeps the image at the minimum.

    Attributes:
        window: W, at least 2.
        patience: Steps without a new minimum after which the fit ends.
    """

    window: int = 100
    patience: int = 1000
    reason: ClassVar[str] = "windowed variance"

    def __post_init__(self) -> None:
        if not 2 <= self.window <= MOST_IMAGES or self.patience < 1:
            raise SettingsError(
                f"Windowed variance needs a window of 2 to {MOST_IMAGES} and a patience of at least 1, got {self.window} and "
                f"{self.patience}."
            )

    def start(self, task: Task) -> State:
        """Return the empty window."""
        device = task.observation.device
        exact = torch.float32 if device.type == "mps" else torch.float64
        entries = task.shape[1] * task.shape[2] * task.shape[3]
        count = min(entries, RING_ENTRIES)
        if count == entries:
            chosen = torch.arange(entries)
        else:
            chosen = torch.randperm(entries, generator=torch.Generator().manual_seed(0))[:count].sort().values
        return {
            **start_least(device, exact),
            "chosen": chosen.to(device),
            "ring": torch.zeros(self.window, count, device=device),
            "sum": torch.zeros(count, dtype=exact, device=device),
            "squares": torch.zeros((), dtype=exact, device=device),
            "seen": torch.zeros((), dtype=torch.long, device=device),
        }

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Push the image into the window; keep it at a new minimum of the variance, or while the window fills."""
        place = step.index % self.window
        entering = step.image.flatten()[state["chosen"]]
        leaving = state["ring"][place].clone()
        state["ring"][place] = entering
        precise = state["sum"].dtype
        total = state["sum"] + entering.to(precise) - leaving.to(precise)
        squares = state["squares"] + entering.to(precise).square().sum() - leaving.to(precise).square().sum()
        seen = state["seen"] + 1
        variance = squares / self.window - (total / self.window).square().sum()
        moved = {**state, "sum": total, "squares": squares, "seen": seen}
        return keep_least(moved, variance, self.patience, known=seen >= self.window)


@dataclass(frozen=True)
class MovingVariance:
    """ES-EMV (Wang et al. 2021): as :class:`WindowedVariance`, with an exponentially weighted variance and hardly any memory.

        mean_t = (1 - alpha) mean_{t-1} + alpha x_t
        EMV_t  = (1 - alpha) EMV_{t-1} + alpha (1 - alpha) ||x_t - mean_{t-1}||^2

    EMV starts at zero, so its value is not used in the first :attr:`filling` steps: there the latest image is kept.

    Attributes:
        alpha: Weight of the newest image, in (0, 1); 0.1 in the paper.
        patience: Steps without a new minimum after which the fit ends.
    """

    alpha: float = 0.1
    patience: int = 1000
    reason: ClassVar[str] = "moving variance"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise SettingsError(f"The weight alpha of the moving variance must be in (0, 1), got {self.alpha}.")
        check_patience("the moving variance", self.patience)

    @property
    def filling(self) -> int:
        """Steps until the start has less than one percent of its weight."""
        return math.ceil(math.log(0.01) / math.log(1 - self.alpha))

    def start(self, task: Task) -> State:
        """Return no images."""
        y = task.observation
        return {
            **start_least(y.device),
            "mean": torch.zeros(task.shape, device=y.device),
            "variance": torch.zeros((), device=y.device),
        }

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Take in an image; keep it at a new minimum of the variance, or while it is not known yet."""
        if step.index == 0:
            moved = {**state, "mean": step.image}
        else:
            apart = step.image - state["mean"]
            variance = (1 - self.alpha) * (state["variance"] + self.alpha * apart.square().sum())
            moved = {**state, "mean": state["mean"] + self.alpha * apart, "variance": variance}
        known = torch.full((), step.index >= self.filling, device=step.image.device)
        return keep_least(moved, moved["variance"], self.patience, known)
