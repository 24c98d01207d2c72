"""Going back: to the last good state after NaN or Inf, and, where asked, when the fit to y has fallen apart."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.tracking import Tracker

MOST_FALLBACKS = 3
"""After so many returns from NaN or Inf a fit ends with its last good image."""


class Guard:
    """Keeps the last good network, latent and optimiser, and goes back to them.

    Args:
        network: f_theta; its parameters and buffers (batch norm) are kept.
        latent: z, which may be optimised, too.
        stepper: The optimiser, whose moments are kept.
        drop: Decibels by which the fit to y may fall between two looks, or None for any.
    """

    def __init__(self, network: nn.Module, latent: Tensor, stepper: torch.optim.Optimizer, drop: float | None):
        self.network, self.latent, self.stepper, self.drop = network, latent, stepper, drop
        self.fallbacks = 0
        self.quality = -math.inf
        self.notes: list[str] = []
        self.good = self.current()

    def current(self) -> dict[str, Any]:
        """A copy of the state as it is now."""
        parts = {"network": self.network.state_dict(), "latent": self.latent.data, "stepper": self.stepper.state_dict()}
        return copy.deepcopy(parts)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state from :meth:`current` back."""
        self.network.load_state_dict(state["network"])
        self.latent.data.copy_(state["latent"])
        self.stepper.load_state_dict(copy.deepcopy(state["stepper"]))

    @property
    def rate(self) -> float:
        """Factor of the learning rate: halved at each return from NaN or Inf."""
        return 0.5**self.fallbacks

    def look(self, tracker: Tracker, task: Task, leaves: Sequence[Tensor], done: int) -> bool:
        """Judge the steps since the last look; go back where they went wrong. Waits for the device.

        Args:
            tracker: Holds the last residual and whether all steps were finite.
            task: Of the fit.
            leaves: What is optimised.
            done: Steps taken so far.

        Returns:
            False where nothing more can be done: not finite for more than :data:`MOST_FALLBACKS` times.
        """
        finite = bool(tracker.healthy) and all(bool(torch.isfinite(leaf).all()) for leaf in leaves)
        quality = _fit_to_observation(tracker, task)
        if finite and (self.drop is None or quality >= self.quality - self.drop):
            self.good, self.quality = self.current(), quality
            return True
        if finite:
            self.notes.append(f"Step {done}: the fit to the observation fell by {self.quality - quality:.1f} dB; went back.")
            self.restore(self.good)
            return True
        if self.fallbacks == MOST_FALLBACKS:
            self.notes.append(
                f"Step {done}: not finite again after {MOST_FALLBACKS} fallbacks; ended with the last good image."
            )
            return False
        self.fallbacks += 1
        self.restore(self.good)
        tracker.healthy = torch.ones_like(tracker.healthy)
        self.notes.append(
            f"Step {done}: not finite; went back to the last good state and lowered the learning rate to 1/{2**self.fallbacks}."
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        """The state as it is now, the last good one, and what happened so far."""
        return {
            **self.current(),
            "good": self.good,
            "fallbacks": self.fallbacks,
            "quality": self.quality,
            "notes": list(self.notes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.restore(state)
        self.good, self.notes = state["good"], list(state["notes"])
        self.fallbacks, self.quality = state["fallbacks"], state["quality"]


def _fit_to_observation(tracker: Tracker, task: Task) -> float:
    """PSNR of the last prediction to y, over measured entries, in dB."""
    mse = float(tracker.residual.square().sum() / task.measured)
    return -10 * math.log10(mse) if mse > 0 else math.inf
