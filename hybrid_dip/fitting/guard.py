"""Going back: to the last good state after NaN or Inf, and, where asked, when the fit to y has fallen apart."""

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, optim

from hybrid_dip.fitting.iterates import Tracker
from hybrid_dip.fitting.objective import Objective
from hybrid_dip.fitting.outcome import fit_to_observation
from hybrid_dip.fitting.unknowns import Unknowns

MOST_FALLBACKS = 3
"""Returns from NaN or Inf, after which a fit ends with its last good image."""

Snapshot = dict[str, Any]
"""A copy of everything that a fit changes."""


class Guard:
    """Remembers the whole state of a fit before each logged step, and goes back to the last one that proved good.

    A state is good once the step that it was remembered before has been evaluated: its image and its loss are finite, so
    were those of all steps since the last look, and the fit to y has not fallen by more than ``drop``.

    Args:
        unknowns: The network with its buffers (batch norm), and the latent.
        optimizer: The optimiser, for its moments.
        objective: The objective, for what its terms remember.
        tracker: The average, the kept image and the rule's memory.
        drop: Decibels by which the fit to y may fall between two looks, or None for any.
    """

    def __init__(
        self, unknowns: Unknowns, optimizer: optim.Optimizer, objective: Objective, tracker: Tracker, drop: float | None
    ):
        self.unknowns, self.optimizer = unknowns, optimizer
        self.objective, self.tracker, self.drop = objective, tracker, drop
        self.fallbacks = 0
        self.quality = -math.inf
        self.notes: list[str] = []
        self.good = self.remembered = self.current()
        self.spare: Snapshot = {}

    def current(self, into: Snapshot | None = None) -> Snapshot:
        """A copy of the state as it is now, in the tensors of an earlier copy where one is given."""
        now = {
            "network": self.unknowns.network.state_dict(),
            "latent": self.unknowns.latent.data,
            "stepper": self.optimizer.state_dict(),
            "objective": self.objective.state_dict(),
            "tracker": self.tracker.state_dict(),
        }
        copied: Snapshot = _copy(now, into)
        return copied

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state from :meth:`current` back."""
        state = copy.deepcopy(dict(state))
        self.unknowns.network.load_state_dict(state["network"])
        self.unknowns.latent.data.copy_(state["latent"])
        self.optimizer.load_state_dict(state["stepper"])
        self.objective.load_state_dict(state["objective"])
        self.tracker.load_state_dict(state["tracker"])

    @property
    def rate(self) -> float:
        """Factor of the learning rate: halved at each return from NaN or Inf."""
        return 0.5**self.fallbacks

    def remember(self) -> None:
        """Keep the state as it is now, before a logged step; :meth:`look` decides whether it is good."""
        self.remembered = self.current(into=self.spare)

    def look(self, step: int) -> bool:
        """Judge the logged step that was just taken, and all since the last look. Waits for the device.

        Args:
            step: Index of the step.

        Returns:
            False where nothing more can be done: not finite for more than :data:`MOST_FALLBACKS` times.
        """
        if not bool(self.tracker.healthy):
            blamed = self.tracker.blame()
            self.restore(self.good)
            if self.fallbacks == MOST_FALLBACKS:
                self.notes.append(
                    f"Step {step}: not finite again after {MOST_FALLBACKS} fallbacks{blamed}; ended with the last good image."
                )
                return False
            self.fallbacks += 1
            self.notes.append(
                f"Step {step}: not finite{blamed}; went back to the last good state and lowered the learning rate to "
                f"1/{2**self.fallbacks}."
            )
            return True
        quality = fit_to_observation(self.tracker.residual, self.objective.task)
        if self.drop is not None and quality < self.quality - self.drop:
            self.restore(self.good)
            self.notes.append(
                f"Step {step}: the fit to the observation fell by {self.quality - quality:.1f} dB; went back to the last "
                "good state."
            )
            return True
        self.good, self.spare, self.quality = self.remembered, self.good, quality
        return True

    def leave(self, steps: int) -> None:
        """End the fit in a finite state: go back where the steps since the last look have left it in another.

        Args:
            steps: Steps that the fit has taken.
        """
        if not (bool(self.tracker.healthy) and self.unknowns.finite):
            blamed = self.tracker.blame()
            self.restore(self.good)
            self.notes.append(f"Step {steps}: not finite at the end{blamed}; went back to the last good state.")

    def state_dict(self) -> Snapshot:
        """The state as it is now, the last good one, and what happened so far."""
        return {
            "current": self.current(),
            "good": self.good,
            "fallbacks": self.fallbacks,
            "quality": self.quality,
            "notes": list(self.notes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.restore(state["current"])
        self.good, self.notes = state["good"], list(state["notes"])
        self.fallbacks, self.quality = state["fallbacks"], state["quality"]


def _copy(value: Any, into: Any) -> Any:
    """A deep copy that writes into the tensors of ``into`` where they fit: most of the cost of a copy is to make them."""
    if isinstance(value, Tensor):
        fits = isinstance(into, Tensor) and (into.shape, into.dtype, into.device) == (value.shape, value.dtype, value.device)
        return into.copy_(value.detach()) if fits else value.detach().clone()
    if type(value) in (dict, OrderedDict):
        old = into if isinstance(into, dict) else {}
        copied = type(value)((name, _copy(part, old.get(name))) for name, part in value.items())
        if isinstance(copied, OrderedDict):
            vars(copied).update(vars(value))  # the versions of a network's modules
        return copied
    if type(value) in (list, tuple):
        parts = into if isinstance(into, list | tuple) and len(into) == len(value) else [None] * len(value)
        return type(value)(_copy(part, earlier) for part, earlier in zip(value, parts, strict=True))
    return copy.deepcopy(value)
