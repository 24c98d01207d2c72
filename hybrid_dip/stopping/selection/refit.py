"""Fit the replicates, then the task itself for as many steps as were best for them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.stopping.selection.replicates import Selection
from hybrid_dip.stopping.selection.scores import BestScore, Scores
from hybrid_dip.stopping.steps import After

OTHER_STEPS = "other_steps"
"""Among a fit's extras: the steps of the fits that chose its number of steps."""


class Once(Protocol):
    """One fit: what a selection asks for several times."""

    def __call__(self, task: Task, rule: Rule, replicate: str, observers: Sequence[Observer]) -> Fit:
        """Fit a task; ``replicate`` is the replicate's name, and "" for the fit that counts."""
        ...


def select(selection: Selection, task: Task, once: Once) -> Fit:
    """Fit a task for the number of steps that a selection finds best.

    Args:
        selection: How the replicates are made.
        task: The task to fit.
        once: Makes one fit.

    Returns:
        The fit that counts, with the seconds of all, or the one that was interrupted.

    Raises:
        SettingsError: The selection does not apply to the task.
    """
    curves: list[Tensor] = []
    fits: list[Fit] = []
    for number, replicate in enumerate(selection.replicates(task), 1):
        scores = Scores(replicate.score)
        rule = BestScore(replicate.score, selection.patience, selection.reason)
        name = f"{selection.reason}-{number}" if selection.refit else ""
        fits.append(once(replicate.task, rule, name, [scores]))
        if fits[-1].reason == "interrupted" or not selection.refit:
            return fits[-1]
        curves.append(torch.stack(scores.values).cpu())
    shortest = min(len(curve) for curve in curves)
    mean = torch.stack([curve[:shortest] for curve in curves]).mean(0)
    best = int(mean.argmin())
    fit = once(task, After(best + 1, selection.reason), "", [])
    several = f"the mean of {len(curves)} fits" if len(curves) > 1 else "a fit"
    note = (
        f"{selection.reason}: step {best} was best in {several} of {shortest} steps to other data; all data were fitted so far."
    )
    extras = {**fit.extras, OTHER_STEPS: sum(one.steps for one in fits)}
    seconds = fit.seconds + sum(one.seconds for one in fits)
    return replace(fit, seconds=seconds, notes=(note, *fit.notes), extras=extras)


def steps_of(fit: Fit) -> int:
    """How many steps were taken for a fit, those of a selection's other fits included.

    Args:
        fit: A fit of one seed.

    Returns:
        The number of steps.
    """
    return fit.steps + int(fit.extras.get(OTHER_STEPS, 0))
