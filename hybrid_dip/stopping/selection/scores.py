"""The fit of a replicate: a rule that keeps the image with the best score, and an observer that notes all scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.stopping.least import keep_least, start_least
from hybrid_dip.stopping.selection.replicates import Score


@dataclass(frozen=True)
class BestScore:
    """The rule of a replicate: keep the image with the best score.

    Attributes:
        score: Score of the replicate.
        patience: Steps without a better one after which the fit ends.
        reason: What is reported.
    """

    score: Score
    patience: int
    reason: str

    def start(self, task: Task) -> State:
        """Return the empty state."""
        return start_least(task.observation.device)

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep the step with the best score."""
        return keep_least(state, self.score(step.candidate), self.patience)


class Scores:
    """An observer that notes the score of each step.

    Args:
        score: Score of the replicate.

    Attributes:
        values: One score for each step, (), on the device.
    """

    def __init__(self, score: Score):
        self.score = score
        self.values: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, step: Step) -> None:
        """Score a step."""
        self.values.append(self.score(step.candidate).detach())

    def state_dict(self) -> dict[str, Any]:
        """The scores so far, for a checkpoint."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.values = list(state["values"])
