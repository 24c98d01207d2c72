"""Selection by measurements that are held out."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from hybrid_dip.contracts import Task, Validation
from hybrid_dip.stopping.least import check_patience
from hybrid_dip.stopping.selection.replicates import Replicate, check_refit


@dataclass(frozen=True)
class HeldOut:
    """A share of the measurements is held out, and scores the images of a fit to the rest.

    This is cross-validation of the number of steps; for early stopping in matrix sensing it is provably near the best (Ding et
    al. 2022). It needs no noise level. Where the task says that the noise of neighbours is alike, they are held out together.

    Attributes:
        share: Fraction of the measured pixels that is held out.
        folds: Number of parts, instead of a share: the pixels are divided into them, each part is held out in turn, and the
            scores are averaged.
        patience: Steps without a better score after which a replicate's fit ends.
        refit: Fit all data for the best number of steps. Without it the best image of the only part is kept.
        seed: Seed of the choice of pixels.
    """

    share: float = 0.1
    folds: int | None = None
    patience: int = 500
    refit: bool = True
    seed: int = 0
    reason: ClassVar[str] = "held-out"

    def __post_init__(self) -> None:
        check_patience("held-out selection", self.patience)
        check_refit("folds", self.folds or 1, self.refit)

    @property
    def fits(self) -> int:
        """Fits that it takes."""
        return (self.folds or 1) + self.refit

    def replicates(self, task: Task) -> list[Replicate]:
        """Make one for each fold.

        Raises:
            SettingsError: Nothing would be left to fit, or to score by.
        """
        splits = [task.split(self.share, self.folds, fold=fold, seed=self.seed) for fold in range(self.folds or 1)]
        return [Replicate(fitted, _judge(validation), validation.score) for fitted, validation in splits]


def _judge(validation: Validation) -> Task:
    """The task with the held-out measurements and no others."""
    task, zero = validation.task, torch.zeros((), device=validation.held_out.device)
    return replace(task, observation=torch.where(validation.held_out > 0, task.observation, zero))
