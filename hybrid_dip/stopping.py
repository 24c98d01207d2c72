"""When to stop, and which iterate to keep: pure rules over steps. None of them sees the ground truth.

A rule is its configuration; what it remembers from step to step is a dictionary of tensors on the device, so nothing waits for
the device and a resumed fit goes on where it was. The loop reads ``Verdict.stop`` at logged steps; a rule whose condition was
met keeps nothing after that, so the image does not depend on how often the loop looks.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError

RING_ENTRIES = 2**16
"""Entries that the windowed variance looks at: with a window of 100 they take 26 MB however large the image is."""


MOST_IMAGES = 5000
"""Longest window that makes sense, and fits into a laptop's memory."""


@dataclass(frozen=True)
class MaxSteps:
    """Take all steps and keep the last iterate, as the original does."""

    reason: ClassVar[str] = "max_steps"

    def start(self, task: Task) -> State:
        """Return an empty state."""
        return {}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep every step, stop at none."""
        yes = torch.ones((), dtype=torch.bool, device=step.image.device)
        return state, Verdict(keep=yes, stop=~yes)


@dataclass(frozen=True)
class WindowedVariance:
    """ES-WMV (Wang et al. 2021, "Early Stopping for Deep Image Prior"): keep the iterate where the images vary least.

    Over the last ``window`` images VAR = 1/W sum_i ||x_i - mean||^2. The image at the smallest VAR is kept; the fit ends when
    VAR has had no new minimum for ``patience`` steps. On images of more than :data:`RING_ENTRIES` entries VAR is taken over a
    fixed random subset of so many of them, which bounds the memory. The paper's setting, and so the default, is W = 100 and a
    patience of 1000 at learning rate 0.01; patience counts steps, so fits shorter than it take all their steps and keep the
    image at the minimum.

    Attributes:
        window: W, at least 2.
        patience: Steps without a new minimum.
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
            "chosen": chosen.to(device),
            "ring": torch.zeros(self.window, count, device=device),
            "sum": torch.zeros(count, dtype=exact, device=device),
            "squares": torch.zeros((), dtype=exact, device=device),
            "seen": torch.zeros((), dtype=torch.long, device=device),
            "least": torch.full((), torch.inf, dtype=exact, device=device),
            "since": torch.zeros((), dtype=torch.long, device=device),
            "stopped": torch.zeros((), dtype=torch.bool, device=device),
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
        full = seen >= self.window
        improved = full & (variance < state["least"]) & ~state["stopped"]
        since = torch.where(improved | ~full, 0, state["since"] + 1)
        stopped = state["stopped"] | (since >= self.patience)
        after = {
            **state,
            "sum": total,
            "squares": squares,
            "seen": seen,
            "least": torch.where(improved, variance, state["least"]),
            "since": since,
            "stopped": stopped,
        }
        return after, Verdict(keep=improved | ~full, stop=stopped)


@dataclass(frozen=True)
class Discrepancy:
    """Morozov's discrepancy principle: stop when the residual has the size of the noise, mean (A x - y)^2 <= factor sigma^2.

    The mean is over measured entries, the noise Gaussian of a known level. Where the observation was clipped to [0, 1], as a
    file of 8 bits is, sigma^2 is that of the clipped noise: smaller where the image is nearly black or white.

    Attributes:
        factor: Above 0; below 1 fits more closely than the noise level.
    """

    factor: float = 1.0
    reason: ClassVar[str] = "discrepancy"

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise SettingsError(f"The factor of the discrepancy principle must be above 0, got {self.factor}.")

    def start(self, task: Task) -> State:
        """Return the threshold.

        Raises:
            SettingsError: The task has no noise level.
        """
        if not task.noise_sigma:
            raise SettingsError(
                "The discrepancy rule needs the level of Gaussian noise, which this task does not have: give sigma, or "
                "choose another rule."
            )
        return {
            "threshold": self.factor * _energy_of_the_noise(task, task.noise_sigma),
            "stopped": torch.zeros((), dtype=torch.bool, device=task.observation.device),
        }

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep each step until the residual reaches the noise."""
        reached = step.residual.square().sum() <= state["threshold"]
        before: Tensor = state["stopped"]
        return {**state, "stopped": before | reached}, Verdict(keep=~before, stop=before | reached)


MOST_AT_BOUNDS = 0.001
"""Share of entries at exactly 0 or 1 up to which an observation within [0, 1] passes for one that was not clipped."""


def _energy_of_the_noise(task: Task, sigma: float) -> Tensor:
    """What the squared noise over measured entries is expected to sum up to."""
    y, measured = task.observation, task.measured
    weight = torch.ones_like(y) if task.weight is None else task.weight.expand_as(y)
    at_bounds = weight * ((y == 0) | (y == 1))
    if y.ndim != 4 or bool((y * weight).min() < 0) or bool((y * weight).max() > 1) or bool(at_bounds.mean() <= MOST_AT_BOUNDS):
        return sigma**2 * measured
    window = (7, 1, 3)  # side, stride, padding
    known = torch.nn.functional.avg_pool2d(weight, *window).clamp(min=1e-6)
    local_mean = torch.nn.functional.avg_pool2d(y * weight, *window) / known
    mean, variance = clipped_gaussian(np.linspace(-4 * sigma, 1 + 4 * sigma, 1001), sigma)
    expected = np.interp(local_mean.cpu().numpy(), mean, variance)
    return (torch.from_numpy(expected).to(y) * weight).sum()


def clipped_gaussian(x: NDArray[np.float64], sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of max(0, min(1, x + sigma n)) for standard normal n.

    Args:
        x: Any shape.
        sigma: Above 0.

    Returns:
        Both of x's shape.
    """
    points = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400).numpy()
    values = np.clip(x[..., None] + sigma * points, 0, 1)
    return values.mean(-1), values.var(-1)
