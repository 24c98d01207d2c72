"""What a selection is: a way to make replicates of a task, each with a score that its fit does not see."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from hybrid_dip.contracts import Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.stopping.rule import start_rule

Score = Callable[[Tensor], Tensor]
"""(1, C, H, W) before ``finish`` -> (): an estimate of an error, but for a constant; smaller is better."""


@dataclass(frozen=True, eq=False)
class Replicate:
    """A task to fit, and what judges its images.

    Attributes:
        task: The task with a part of the data, or with other noise.
        judge: The same task with the data that are independent of it; ``judge.residual(x)`` is zero where it has none.
        score: An error made of that residual.
    """

    task: Task
    judge: Task
    score: Score


@runtime_checkable
class Selection(Protocol):
    """A way to choose the number of steps by replicates of the task."""

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
        """Whether the task itself is then fitted, for the best number of steps; else the replicate's best image is kept."""
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


def check_refit(what: str, count: int, refit: bool) -> None:
    """Refuse several replicates without a refit.

    Args:
        what: What the replicates are called, for the sentence.
        count: How many there are.
        refit: Whether the task itself is fitted.

    Raises:
        SettingsError: Which of their images should be kept?
    """
    if count > 1 and not refit:
        raise SettingsError(f"Several {what} agree on a number of steps, not on an image: leave refit on.")


def fits_of(rule: Rule | Selection) -> int:
    """How many fits an image takes.

    Args:
        rule: When to stop.

    Returns:
        1 for a rule.
    """
    return rule.fits if isinstance(rule, Selection) else 1


def check(rule: Rule | Selection, task: Task) -> None:
    """Refuse a rule or a selection that does not apply to a task, before anything is fitted.

    Args:
        rule: Either.
        task: The task to fit.

    Raises:
        SettingsError: It is neither, or does not apply to this task.
        FitError: It fails.
    """
    if isinstance(rule, Selection):
        rule.replicates(task)
    else:
        start_rule(rule, task)
