"""The iterates of a restoration along its fits, on the disk, so that any of them can be looked at and kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.app.job import Job
from hybrid_dip.contracts import Observer, Step
from hybrid_dip.images.atomic import replacement
from hybrid_dip.restoring.hooks import FitName


@dataclass(frozen=True)
class Iterate:
    """One logged step of a fit.

    Attributes:
        seed: Seed of the fit.
        step: Index of the step.
        loss: The objective.
        psnr: Decibels of the finished image; None without a clean one.
        path: File of the finished image.
    """

    seed: int
    step: int
    loss: float
    psnr: float | None
    path: Path

    @property
    def image(self) -> Tensor:
        """The finished image, (1, C, H, W)."""
        return torch.from_numpy(np.load(self.path))


class Iterates(list[Iterate]):
    """All iterates so far, in their order. An image in tiles has only its newest, of what is fitted so far.

    Args:
        job: What is fitted.
        folder: Where images are saved.
    """

    def __init__(self, job: Job, folder: Path):
        super().__init__()
        self.job, self.folder = job, folder
        self._canvas = torch.zeros(job.task.shape)

    def watch(self, name: FitName) -> list[Observer]:
        """What saves the iterates of one fit; nothing for one that only serves another."""
        return [] if name.replicate else [lambda step: self._add(name, step) if step.logged else None]

    def _add(self, name: FitName, step: Step) -> None:
        tiles, image = self.job.tiles, step.candidate.detach().cpu()
        path = self.folder / f"{name.seed}-{step.index}.npy"
        if tiles is not None and name.tile is not None:
            path = self.folder / "newest.npy"
            tiles.boxes[name.tile].of(self._canvas).copy_(image)
            image = self._canvas
        finished = self.job.task.finish(image)
        with replacement(path) as temporary:
            np.save(temporary, finished.numpy())
        psnr = self.job.psnr(finished)
        self[len(self) if tiles is None else 0 :] = [Iterate(name.seed, step.index, float(step.losses["total"]), psnr, path)]
