"""What a rule would have kept in a fit that another rule ends, so that rules are compared along the same fit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Rule, Step, Task


class Following:
    """An observer that follows a rule without ending the fit.

    Args:
        rule: The rule to follow.
        task: The task that is fitted.

    Attributes:
        image: The image that the rule keeps so far, before ``finish``; None before the first step.
        kept_at: The step that the image is from.
        stopped_at: The step at which the rule would have ended the fit; -1 while it has not.
    """

    def __init__(self, rule: Rule, task: Task):
        self.rule = rule
        self.state = rule.start(task)
        self.image: Tensor | None = None
        device = task.observation.device
        self._kept_at = torch.full((), -1, dtype=torch.long, device=device)
        self._stopped_at = torch.full((), -1, dtype=torch.long, device=device)

    @property
    def kept_at(self) -> int:
        """The step that the image is from."""
        return int(self._kept_at)

    @property
    def stopped_at(self) -> int:
        """The step at which the rule would have ended the fit, or -1."""
        return int(self._stopped_at)

    @torch.no_grad()
    def __call__(self, step: Step) -> None:
        """Show the rule a step; nothing is kept after it would have ended the fit."""
        self.state, verdict = self.rule.update(self.state, step)
        ended = self._stopped_at >= 0
        keep = verdict.keep & ~ended if self.image is not None else torch.ones_like(ended)
        self.image = step.candidate if self.image is None else torch.where(keep, step.candidate, self.image)
        self._kept_at = torch.where(keep, step.index, self._kept_at)
        self._stopped_at = torch.where(verdict.stop & ~ended, step.index, self._stopped_at)

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"state": dict(self.state), "image": self.image, "kept_at": self._kept_at, "stopped_at": self._stopped_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.state, self.image = dict(state["state"]), state["image"]
        self._kept_at, self._stopped_at = state["kept_at"], state["stopped_at"]
