"""What a fit remembers of its images: the running average, the kept and the last iterate, none of them ever NaN."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Rule, Step, Task
from hybrid_dip.errors import SettingsError, check_kind
from hybrid_dip.fitting.objective import Evaluation
from hybrid_dip.stopping.rule import start_rule, update_rule


@dataclass(frozen=True)
class Growing:
    """Decay of an average of the outputs over about the last ``share`` of all steps so far.

    decay(t) = share t / (1 + share t), the polynomial-decay averaging of Shamir & Zhang ("Stochastic Gradient Descent for
    Non-smooth Optimization", ICML 2013) with eta = 1 / share - 1. Unlike a fixed decay it forgets the first outputs of a short
    fit as well.

    Attributes:
        share: Share of the steps so far, in (0, 1]; 1 is the plain mean of all outputs.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingsError(f"The share of the steps to average must be in (0, 1], got {self.share}.")

    def decay(self, step: int) -> float:
        """Return the weight of the average so far at this step, the first being 0."""
        return self.share * step / (1 + self.share * step)


class Tracker:
    """Follows the iterates without waiting for the device.

    A step whose image or loss is not finite counts as a repetition of the step before it, so that neither the average nor
    the rule ever sees NaN; ``healthy`` turns false until the guard goes back to a state in which it was true. The part that was
    not finite first is remembered, since one step later everything is NaN.

    Args:
        rule: When to stop, and what to keep.
        task: The task to fit, for the rule.
        average: Decay of the average of the outputs, in [0, 1) or growing, or None for no average.

    Raises:
        SettingsError: The decay is out of range, or the rule does not apply to the task.
        FitError: The rule fails.
    """

    def __init__(self, rule: Rule, task: Task, average: float | Growing | None):
        check_kind("average", average, float | int | Growing | None, "a decay such as 0.99, or Growing")
        if isinstance(average, float | int) and not 0 <= average < 1:
            raise SettingsError(f"average must be a decay in [0, 1), such as 0.99, got {average}.")
        self.rule = rule
        self.averaging = average
        self.rule_state = start_rule(rule, task)
        blank = torch.zeros(task.shape, device=task.observation.device)
        self.image, self.average, self.kept = blank, blank, blank
        self.residual = torch.zeros_like(task.observation)
        self.kept_at = torch.full((), -1, dtype=torch.long, device=blank.device)
        self.healthy = torch.ones((), dtype=torch.bool, device=blank.device)
        self.stop = torch.zeros((), dtype=torch.bool, device=blank.device)
        self.parts: tuple[str, ...] = ()
        self.sound = torch.ones((1,), dtype=torch.bool, device=blank.device)
        self.taken, self.at = 0, -1  # how many steps have led here, and the index of the last of them

    @property
    def empty(self) -> bool:
        """Whether no step has led here: none was taken, or the fit went back to its beginning."""
        return self.taken == 0

    @property
    def last(self) -> Tensor:
        """The last finite iterate: the average where there is one."""
        return self.image if self.averaging is None else self.average

    @torch.no_grad()
    def update(self, evaluation: Evaluation, index: int, learning_rate: float, logged: bool) -> Step:
        """Take in one step.

        Args:
            evaluation: The network's output, and the objective there.
            index: Index of the step.
            learning_rate: Learning rate of the step.
            logged: Whether it goes into the history.

        Returns:
            The step, for observers.
        """
        image = evaluation.image
        finite = torch.isfinite(image).all() & torch.isfinite(evaluation.total)
        self.healthy = self.healthy & finite
        self.parts = tuple(evaluation.gradient_norms)
        numbers = [part[name] for part in (evaluation.losses, evaluation.gradient_norms) for name in self.parts]
        sound = torch.isfinite(torch.stack([image.sum(), *numbers]))
        self.sound = sound if self.empty else torch.where(self.sound.all(), sound, self.sound)
        self.image = image if self.empty else torch.where(finite, image, self.image)
        self.residual = evaluation.residual if self.empty else torch.where(finite, evaluation.residual, self.residual)
        if self.averaging is not None:
            decay = self.averaging.decay(index) if isinstance(self.averaging, Growing) else self.averaging
            # The first output starts the average, as in the original.
            self.average = image if self.empty else self.average * decay + self.image * (1 - decay)
        step = Step(
            index=index,
            image=self.image,
            average=None if self.averaging is None else self.average,
            residual=self.residual,
            losses=evaluation.losses,
            gradient_norms=evaluation.gradient_norms,
            weights=evaluation.weights,
            learning_rate=learning_rate,
            logged=logged,
        )
        self.rule_state, verdict = update_rule(self.rule, self.rule_state, step)
        keep = verdict.keep & finite
        self.kept = step.candidate if self.empty else torch.where(keep, step.candidate, self.kept)
        self.kept_at = torch.where(keep, index, self.kept_at) if not self.empty else torch.full_like(self.kept_at, index)
        self.stop = verdict.stop & self.healthy
        self.taken, self.at = self.taken + 1, index
        return step

    def blame(self) -> str:
        """In brackets, the part that was not finite first, or "" where all were finite. Waits for the device."""
        image, *numbers = self.sound.tolist()
        broken = [name for i, name in enumerate(self.parts) if not (numbers[i] and numbers[i + len(self.parts)])]
        names = " and ".join(name if name == "fidelity" else f"regulariser '{name}'" for name in broken)
        if not image:  # then nothing else can be
            names = "network's output"
        return f" (the {names})" if names else ""

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        images = {name: getattr(self, name) for name in _TENSORS}
        return {**images, "rule_state": dict(self.rule_state), "taken": self.taken, "at": self.at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name in _TENSORS:
            setattr(self, name, state[name])
        self.rule_state, self.taken, self.at = dict(state["rule_state"]), state["taken"], state["at"]


_TENSORS = ("image", "average", "kept", "residual", "kept_at", "healthy", "stop", "sound")
