"""Selection: how many steps are best, judged by data that the fit does not see.

A :class:`Selection` turns a task into replicates of it: a task to fit, and a score of an image by data that are independent of
that task. The number of steps with the smallest score, on average over the replicates, is then taken for the task itself (the
refit). No score ever sees the ground truth.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.contracts import Fit, Observer, Rule, State, Step, Task, Validation, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.stopping.least import check_patience, least, nothing_yet
from hybrid_dip.stopping.rule import begun
from hybrid_dip.stopping.steps import After

OTHER_STEPS = "other_steps"
"""Among a fit's extras: the steps of the fits that chose its number of steps."""

Score = Callable[[Tensor], Tensor]
"""(1, C, H, W) before ``finish`` -> (): an estimate of an error, but for a constant; smaller is better."""


@dataclass(frozen=True, eq=False)
class Replicate:
    """A task to fit, and what judges its images.

    Attributes:
        task: With a part of the data, or with other noise.
        judge: The same task with the data that are independent of it; ``judge.residual(x)`` is zero where there are none.
        score: An error made of that residual.
    """

    task: Task
    judge: Task
    score: Score


@runtime_checkable
class Selection(Protocol):
    """How replicates are made."""

    @property
    def reason(self) -> str:
        """What is reported."""
        ...

    @property
    def patience(self) -> int:
        """Steps without a better score after which a replicate's fit ends."""
        ...

    @property
    def refit(self) -> bool:
        """Whether the task itself is fitted, for the number of steps found; otherwise the replicate's best image is kept."""
        ...

    @property
    def fits(self) -> int:
        """Fits that it takes."""
        ...

    def replicates(self, task: Task) -> list[Replicate]:
        """Make them.

        Raises:
            SettingsError: It does not apply to this task.
        """
        ...


@dataclass(frozen=True)
class HeldOut:
    """A share of the measurements is held out, and scores the images of a fit to the rest.

    What cross-validation does for the number of steps; for early stopping in matrix sensing it is provably near the best (Ding
    et al. 2022). It needs no noise level, but noise that is independent between pixels.

    Attributes:
        share: Fraction of the measured pixels that is held out.
        folds: Instead of a share: divide the pixels into so many parts, hold each out in turn, and average the scores.
        patience: Steps without a better score.
        refit: Fit all data for the number of steps found. Without it the best image of the only part is kept.
        seed: Of the choice of pixels.
    """

    share: float = 0.1
    folds: int | None = None
    patience: int = 500
    refit: bool = True
    seed: int = 0
    reason: ClassVar[str] = "held-out"

    def __post_init__(self) -> None:
        check_patience("held-out selection", self.patience)
        _needs_refit("folds", self.folds or 1, self.refit)

    @property
    def fits(self) -> int:
        """Fits that it takes."""
        return (self.folds or 1) + self.refit

    def replicates(self, task: Task) -> list[Replicate]:
        """One a fold.

        Raises:
            SettingsError: Nothing would be left to fit, or to score by.
        """
        splits = [task.split(self.share, self.folds, fold=fold, seed=self.seed) for fold in range(self.folds or 1)]
        return [Replicate(fitted, _held_out(task, validation), validation.score) for fitted, validation in splits]


@dataclass(frozen=True)
class Bootstrap:
    """Coupled bootstrap, or data fission (Oliveira, Lei & Tibshirani 2022): an unbiased risk for Gaussian noise.

    With eta as large as the noise, y + tau eta and y - eta / tau are independent. The first is fitted, the second scores:

        mean (A x - y + eta / tau)^2 - sigma^2 (1 + 1 / tau^2)

    is an unbiased estimate of mean (A x - A x_true)^2 for noise of deviation sigma sqrt(1 + tau^2), whatever the algorithm
    does: no derivative of a chaotic fit is taken, as SURE would need.

    Attributes:
        tau: How much noise is added to what is fitted, in units of sigma; the smaller, the noisier the score.
        draws: Of eta, each with a fit of its own.
        projected: Estimate the risk of the image where A sees it, mean |A^+ A (x - x_true)|^2, rather than that of the
            measurements: what generalised SURE (Eldar 2009) estimates. Nothing can be told of the rest.
        patience: Steps without a better score.
        refit: Fit y itself for the number of steps found. Without it the best image of the fit to y + tau eta is kept.
        seed: Of eta.
    """

    tau: float = 0.5
    draws: int = 1
    projected: bool = False
    patience: int = 500
    refit: bool = True
    seed: int = 0
    reason: ClassVar[str] = "bootstrap"

    def __post_init__(self) -> None:
        check_patience("the bootstrap", self.patience)
        if not 0 < self.tau < math.inf or self.draws < 1:
            raise SettingsError(f"The bootstrap needs tau above 0 and at least one draw, got {self.tau} and {self.draws}.")
        _needs_refit("draws", self.draws, self.refit)

    @property
    def fits(self) -> int:
        """Fits that it takes."""
        return self.draws + self.refit

    def replicates(self, task: Task) -> list[Replicate]:
        """One a draw.

        Raises:
            SettingsError: The noise is not Gaussian of a known level.
        """
        sigma = task.noise_sigma
        if not sigma or task.fidelity is not gaussian:
            raise SettingsError(
                "The bootstrap needs the level of Gaussian noise, which this task does not have: give sigma, or choose "
                "held-out."
            )
        return [self._replicate(task, sigma, self.seed + draw) for draw in range(self.draws)]

    def _replicate(self, task: Task, sigma: float, seed: int) -> Replicate:
        y = task.observation
        # Not torch's generator: a simulated degradation of the same seed would have drawn the very same noise.
        eta = sigma * torch.from_numpy(np.random.default_rng(seed).standard_normal(y.shape)).to(y)
        fitted = replace(task, observation=y + self.tau * eta, noise_sigma=sigma * math.sqrt(1 + self.tau**2))
        other = replace(task, observation=y - eta / self.tau, noise_sigma=sigma * math.sqrt(1 + 1 / self.tau**2))
        if task.weight is not None:
            # What was not measured stays what it is.
            known = task.weight.expand_as(y) > 0
            fitted, other = (replace(one, observation=torch.where(known, one.observation, y)) for one in (fitted, other))
        return Replicate(fitted, other, _projected_risk(other) if self.projected else _risk(other))


def _held_out(task: Task, validation: Validation) -> Task:
    """The task with the held-out measurements and no others."""
    held = validation.held_out
    zero = torch.zeros((), device=held.device)
    return replace(task, observation=torch.where(held > 0, validation.observation, zero), weight=held)


def _needs_refit(what: str, count: int, refit: bool) -> None:
    if count > 1 and not refit:
        raise SettingsError(f"Several {what} agree on a number of steps, not on an image: leave refit on.")


def _risk(other: Task) -> Score:
    """Mean over what was measured of (A x - y')^2, less the noise of y'."""
    noise = float(other.noise_sigma or 0.0) ** 2

    def score(x: Tensor) -> Tensor:
        return other.residual(x).square().sum() / other.measured - noise

    return score


def _projected_risk(other: Task) -> Score:
    """Mean over the image of |A^+ (A x - y')|^2; the noise of y' is a constant that is not known without the trace of A A^T."""
    least_norm = 1e-6
    zero = torch.zeros(other.shape, device=other.observation.device)
    data = nearest_explanation(zero, other, least_norm)

    def score(x: Tensor) -> Tensor:
        seen = nearest_explanation(zero, replace(other, observation=other.forward(x)), least_norm)
        return (seen - data).square().mean()

    return score


@dataclass(frozen=True)
class Scored:
    """The rule of a replicate: keep the image with the best score.

    Attributes:
        score: Of the replicate.
        patience: Steps without a better one.
        reason: What is reported.
    """

    score: Score
    patience: int
    reason: str

    def start(self, task: Task) -> State:
        """Return the empty state."""
        return nothing_yet(task.observation.device)

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep the step with the best score."""
        return least(state, self.score(step.candidate), self.patience)


class Curve:
    """An observer that keeps the score of each step.

    Args:
        score: Of the replicate.
    """

    def __init__(self, score: Score):
        self.score = score
        self.values: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, step: Step) -> None:
        """Score a step, on the device."""
        self.values.append(self.score(step.candidate).detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.values = list(state["values"])


class Once(Protocol):
    """One fit: what a selection asks for several times."""

    def __call__(self, task: Task, rule: Rule, name: str, observers: Sequence[Observer]) -> Fit:
        """Fit a task; ``name`` says which of several fits it is, and is "" for the one that counts."""
        ...


def select(selection: Selection, task: Task, once: Once) -> Fit:
    """Fit a task for as many steps as data say that the fit does not see.

    Args:
        selection: How they are held back.
        task: To fit.
        once: Makes one fit.

    Returns:
        The fit that counts, with the seconds of all, or the one that was interrupted.

    Raises:
        SettingsError: The selection does not apply to the task.
    """
    curves: list[Tensor] = []
    fits: list[Fit] = []
    replicates = selection.replicates(task)
    for number, replicate in enumerate(replicates, 1):
        curve = Curve(replicate.score)
        rule = Scored(replicate.score, selection.patience, selection.reason)
        name = f"{selection.reason}-{number}" if selection.refit else ""
        fits.append(once(replicate.task, rule, name, [curve]))
        if fits[-1].reason == "interrupted" or not selection.refit:
            return fits[-1]
        curves.append(torch.stack(curve.values).cpu())
    shortest = min(len(curve) for curve in curves)
    mean = torch.stack([curve[:shortest] for curve in curves]).mean(0)
    best = int(mean.argmin())
    found = once(task, After(best + 1, selection.reason), "", [])
    several = f"the mean of {len(curves)} fits" if len(curves) > 1 else "a fit"
    note = (
        f"{selection.reason}: step {best} was best in {several} of {shortest} steps to other data; all data were fitted so far."
    )
    extras = {**found.extras, OTHER_STEPS: sum(one.steps for one in fits)}
    seconds = found.seconds + sum(one.seconds for one in fits)
    return replace(found, seconds=seconds, notes=(note, *found.notes), extras=extras)


def fits_of(rule: "Rule | Selection") -> int:
    """How many fits an image takes.

    Args:
        rule: When to stop.

    Returns:
        1 for a rule.
    """
    return rule.fits if isinstance(rule, Selection) else 1


def steps_of(fit: Fit) -> int:
    """How many steps were taken for a fit, those of a selection's other fits included.

    Args:
        fit: Of one seed.

    Returns:
        The number.
    """
    return fit.steps + int(fit.extras.get(OTHER_STEPS, 0))


def check(rule: "Rule | Selection", task: Task) -> None:
    """Say now where a rule or a selection does not apply.

    Args:
        rule: Either.
        task: To fit.

    Raises:
        SettingsError: It is neither, or does not apply to this task.
        FitError: It fails.
    """
    if isinstance(rule, Selection):
        rule.replicates(task)
    else:
        begun(rule, task)
