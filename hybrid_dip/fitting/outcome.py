"""Whether a fit has come to anything: an image that is no better than none ends in an error, not in a file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from hybrid_dip.contracts import Step, Task
from hybrid_dip.errors import FitError
from hybrid_dip.fitting.iterates import Tracker
from hybrid_dip.fitting.unknowns import Unknowns

GREY = 0.5
FEW_STEPS, SLACK_OF_FEW, SLACK = 20, 3.0, 1.0
"""Decibels by which the fit to y may be worse than at the beginning: the first steps wobble by up to 2 dB."""
BOUND = 1e-4
"""How near to 0 or 1 the output of a saturated network is at least."""
DEAD = 1e-6
"""Below this share of the image's gradient, what reaches the parameters moves nothing any more."""


def fit_to_observation(residual: Tensor, task: Task) -> float:
    """PSNR of a prediction to y over the measured entries, in dB. Waits for the device.

    Args:
        residual: A x - y, zero where nothing was measured.
        task: The task.

    Returns:
        Decibels, at most 120, which is a perfect fit in single precision.
    """
    mse = float(residual.square().sum() / task.measured)
    return -10 * math.log10(max(mse, 1e-12))


class Outcome:
    """Remembers how a fit began, and judges at the end what has become of it.

    Args:
        task: The task to fit.
        unknowns: What is optimised.
        tracker: The iterates.
    """

    def __init__(self, task: Task, unknowns: Unknowns, tracker: Tracker):
        self.task, self.unknowns, self.tracker = task, unknowns, tracker
        self.quality = math.inf
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.weights: dict[str, float] = {}
        self.pull = 0.0

    def look(self, step: Step) -> None:
        """Take in a logged step. Waits for the device."""
        losses = {name: float(loss) for name, loss in step.losses.items() if name != "total"}
        if not self.first:
            self.first, self.quality = losses, fit_to_observation(self.tracker.residual, self.task)
        self.last, self.weights = losses, {name: float(weight) for name, weight in step.weights.items()}
        self.pull = max(float(norm) for norm in step.gradient_norms.values())

    def check(self, steps: int, notes: Sequence[str]) -> str:
        """Judge a fit that has ended.

        Args:
            steps: Steps that it has taken.
            notes: What happened on the way; the last one is quoted where the fit always went back to its beginning.

        Returns:
            A note where the last image is no good, but an earlier one that is good was kept; else "".

        Raises:
            FitError: The image that was kept is no better than none.
        """
        tracker = self.tracker
        if steps <= 1:  # there is nothing but a beginning
            return ""
        if tracker.taken <= 1:
            why = notes[-1].split(";")[0] if notes else "nothing was kept"
            _fail(f"it came back to its beginning each time that it had left it ({why[0].lower()}{why[1:]})")
        fault = self._fault(tracker.residual) or self._saturation()
        if not fault:
            return ""
        kept = int(tracker.kept_at)
        if kept == tracker.at or self._fault(self.task.residual(tracker.kept).detach()):
            _fail(fault)
        return f"The image of step {kept} was kept; of the last one it must be said that {fault}."

    def _fault(self, residual: Tensor) -> str:
        """Why an image is no good: it explains y less well than the beginning and than grey, and the objective is no better."""
        quality = fit_to_observation(residual, self.task)
        slack = SLACK_OF_FEW if self.tracker.taken < FEW_STEPS else SLACK
        if quality > self.quality - slack:
            return ""
        with torch.no_grad():
            plain = self.task.residual(torch.full(self.task.shape, GREY, device=residual.device))
        grey = fit_to_observation(plain, self.task)
        better = self._objective(self.last) < self._objective(self.first)
        if quality > grey - slack or better:
            return ""
        return f"the image explains the observation less well than plain grey does ({quality:.1f} dB, grey {grey:.1f} dB)"

    def _saturation(self) -> str:
        """Why an image is no good: it is black or white all over. At a minimum no gradient is left either, and all is well."""
        image = self.tracker.image
        if bool(((image > BOUND) & (image < 1 - BOUND)).any()):
            return ""
        gradients = [float(leaf.grad.abs().max()) for leaf in self.unknowns.leaves if leaf.grad is not None]
        dead = max(gradients, default=math.inf) < DEAD * self.pull
        return "the network's output is saturated, so no gradient reaches what is optimised" if dead else ""

    def _objective(self, losses: Mapping[str, float]) -> float:
        """The objective with the weights of the end."""
        return losses["fidelity"] + sum(weight * losses[name] for name, weight in self.weights.items())

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("quality", "first", "last", "weights", "pull")


def _fail(why: str) -> NoReturn:
    part = ", or look at the part that is named" if "(the regulariser" in why else ""
    raise FitError(f"The fit came to nothing, because {why}: lower the learning rate (lr){part}.")
