"""What was asked for -> the objects of a restoration, made and fitted as the command does it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.app.asked import Asked
from hybrid_dip.contracts import Rule, Task
from hybrid_dip.errors import whole_number
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.images import metrics
from hybrid_dip.images.files import crop_picture, crop_to_centre, load_image
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.reading import read_picture
from hybrid_dip.problem.tiles import Tiles, of_one_fit
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.limits import check_seeds
from hybrid_dip.recipes.override import override
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.recipes.written_task import WrittenTask
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.hooks import HooksOf
from hybrid_dip.restoring.memory import check_memory, recompute_if_needed
from hybrid_dip.restoring.plan import recipe_and_tiles, resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result
from hybrid_dip.restoring.side import side_of_tiles
from hybrid_dip.restoring.writer import ResultWriter, check_reference
from hybrid_dip.stopping.selection import Selection, check


@dataclass(frozen=True, eq=False)
class Job:
    """The objects of one restoration.

    Attributes:
        picture: The degraded picture.
        task: The task made from it.
        recipe: What is fitted to the whole image, or to each tile.
        tiles: The tiles in which the image is fitted, or None for the whole at once.
        terms: Regularisers.
        rule: When to stop.
        seed: Seed of the first run.
        device: Where the fits run.
        execution: How the network is evaluated.
        reference: The clean image, or None. No fit sees it.
    """

    picture: Picture
    task: Task
    recipe: Recipe
    tiles: Tiles | None
    terms: tuple[Term, ...]
    rule: Rule | Selection
    seed: int
    device: torch.device
    execution: Execution
    reference: Tensor | None

    def restore(self, hooks: HooksOf) -> Result:
        """Restore, as the command does.

        Args:
            hooks: What surrounds each fit.

        Returns:
            The result.

        Raises:
            HybridDIPError: It does not fit into memory, or the fit fails.
        """
        check_memory(of_one_fit(self.task, self.tiles), self.recipe, self.device, self.execution)
        return restore(
            self.task,
            preset=self.recipe,
            regularisers=self.terms,
            rule=self.rule,
            seed=self.seed,
            device=self.device,
            tile=self.recipe.tile or 0,
            execution=self.execution,
            progress=False,
            hooks=hooks,
        )

    def writer(self, folder: Path) -> ResultWriter:
        """What writes a picture into a folder, as the command does."""
        return ResultWriter(folder, self.task, self.reference)

    def psnr(self, image: Tensor) -> float | None:
        """Decibels of a finished image; None where there is no clean one, or one of another size."""
        if self.reference is None or image.shape != self.reference.shape:
            return None
        image, truth = (self.task.in_unit_range(x, self.reference) for x in (image, self.reference))
        return metrics.psnr(image, truth)


def make_job(asked: Asked) -> Job:
    """Make the objects of a restoration.

    Args:
        asked: What is asked for.

    Returns:
        The job.

    Raises:
        HybridDIPError: A file, a name or a number is wrong.
        FileNotFoundError: There is no such file.
    """
    names, numbers = catalogue(), {"steps": asked.steps, "runs": asked.runs, "crop": asked.crop}
    steps, runs, crop = (None if number is None else whole_number(name, number) for name, number in numbers.items())
    seed = whole_number("seed", asked.seed, 0)
    picture = crop_picture(read_picture(asked.folder / asked.image), crop)

    def cut(over: Tensor, scale: int = 1) -> Tensor:
        return over if crop is None else crop_to_centre(over, crop, scale)

    task = WrittenTask(asked.task, asked.options, cut, asked.folder, "'{}'".format).task(picture)
    terms = tuple(spec.term(text, names) for text in asked.priors)
    preset, device = partial(_recipe, asked.preset, steps, runs), devices.pick()
    recipe, tiles = recipe_and_tiles(task, preset, side_of_tiles("auto", task, preset, device, terms), terms)
    check_seeds(seed, recipe.runs)
    rule = recipe.rule if asked.stop is None else spec.build(asked.stop, "stopping", names)
    check(rule, task)
    scale = max(1, task.shape[-1] // picture.pixels.shape[-1])
    reference = None if asked.reference is None else cut(load_image(asked.folder / asked.reference), scale)
    check_reference(reference, task)
    execution = recompute_if_needed(PLAIN, of_one_fit(task, tiles), recipe, device)
    return Job(picture, task, recipe, tiles, terms, rule, seed, device, execution, reference)


def _recipe(preset: str, steps: int | None, runs: int | None, task: Task) -> Recipe:
    return override(resolve(preset, task), steps=steps, runs=runs)
