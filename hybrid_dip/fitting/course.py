"""How far a fit has come, and why it ended."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from hybrid_dip.errors import SettingsError

INTERRUPTED = "interrupted"
"""Why a fit ended that the same call would resume."""
ALL_TAKEN = "max_steps"
"""Why a fit ended that a call with more steps would resume."""


class Course:
    """Counts the steps and the seconds of a fit over all its resumed parts, and ends it.

    Args:
        max_steps: Steps at most.
        time_budget: Seconds after which the fit ends, or None.
        halt: Asked after each step whether to end, or None.

    Attributes:
        steps: Steps taken so far; also the index of the next one.
        reason: Why the fit ended; "" while it goes on.

    Raises:
        SettingsError: The time budget is not above 0.
    """

    def __init__(self, max_steps: int, time_budget: float | None = None, halt: Callable[[], bool] | None = None):
        if time_budget is not None and not 0 < time_budget < math.inf:
            raise SettingsError(f"time_budget must be a number of seconds above 0, got {time_budget}.")
        self.max_steps, self.time_budget, self.halt = max_steps, time_budget, halt
        self.steps, self.reason = 0, ""
        self._earlier, self._started = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far, earlier parts included."""
        return self._earlier + time.perf_counter() - self._started

    @property
    def ended(self) -> bool:
        """Whether no step follows."""
        return bool(self.reason) or self.steps >= self.max_steps

    def advance(self) -> None:
        """Count a step. Where another one would follow, end the fit if its time is up or ``halt`` says so."""
        self.steps += 1
        if self.ended:
            return
        if self.time_budget is not None and self.seconds >= self.time_budget:
            self.reason = "time budget"
        elif self.halt is not None and self.halt():
            self.reason = INTERRUPTED

    def state_dict(self) -> dict[str, Any]:
        """Steps, seconds and the reason, for a checkpoint; an interrupted fit is one that goes on."""
        return {"done": self.steps, "seconds": self.seconds, "reason": "" if self.reason == INTERRUPTED else self.reason}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; a fit that had taken all its steps goes on where there are more now."""
        self.steps, self.reason = state["done"], state["reason"]
        if self.reason == ALL_TAKEN and self.steps < self.max_steps:
            self.reason = ""
        self._earlier, self._started = state["seconds"], time.perf_counter()
