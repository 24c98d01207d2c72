"""One restoration into a result folder, with what a person wants around it: an estimate, progress, pictures."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.cli.log import log_writer
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.contracts import Observer, Rule, Task
from hybrid_dip.errors import Interrupted, interruptible
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.loggers import Log
from hybrid_dip.fitting.observers import Frames, ReferenceWatch
from hybrid_dip.images import figures
from hybrid_dip.images.picture import Picture
from hybrid_dip.problem.masks import to_fill_in
from hybrid_dip.problem.noise import estimated
from hybrid_dip.problem.tiles import Tiles, of_one_fit, part
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.estimate import duration, estimate, shorter_preset
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.longer import parts_over_all_steps
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.memory import TooLargeError
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result
from hybrid_dip.restoring.writer import ResultWriter, check_reference, describe_stop, describe_time, history_rows
from hybrid_dip.stopping.selection import Selection, check, fits_of, steps_of


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that one restoration into a folder needs.

    Attributes:
        picture: Content of the degraded file; the result has its alpha channel and bit depth.
        task: The task made from it.
        recipe: What is fitted to the whole image or to each tile.
        terms: Regularisers.
        rule: When to stop, and what to keep.
        seed: Seed of the first run.
        device: Where the fits run.
        reference: The clean image, or None. No fit sees it.
        time_budget: Seconds for each seed, or None.
        checkpoint_every: Steps between two saved states.
        animate: Whether fit.gif is written.
        log: Where each fit is logged, one of :data:`~hybrid_dip.cli.log.LOGS`; None where it is not.
        quiet: Whether progress bars and messages are left out.
        settings: Everything that the result depends on, for the manifest and for resuming.
        execution: How the network is evaluated.
    """

    picture: Picture
    task: Task
    recipe: Recipe
    terms: tuple[Term, ...]
    rule: Rule | Selection
    seed: int
    device: torch.device
    reference: Tensor | None
    time_budget: float | None
    checkpoint_every: int
    animate: bool
    log: str | None
    quiet: bool
    settings: Mapping[str, Any]
    execution: Execution = PLAIN

    @property
    def tiles(self) -> Tiles | None:
        """The tiles in which the image is restored, or None for the whole at once."""
        return tiles_for(self.task, self.recipe)

    @property
    def fitted(self) -> Task:
        """What one fit sees: the task, or the first tile of it."""
        return of_one_fit(self.task, self.tiles)

    def writer(self, folder: ResultFolder) -> ResultWriter:
        """What writes the result of this job into a folder."""
        return ResultWriter(folder.path, self.task, self.reference)

    def say_what_is_filled_in(self) -> None:
        """Print the share of the image that the mask fills in, where there is one: white and black are easily confused."""
        if to_fill_in(self.task):
            self.say(to_fill_in(self.task))

    def say(self, text: str) -> None:
        """Print how the job goes, unless it is quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)


def run(job: Job, folder: ResultFolder, *, resume: bool, overwrite: bool) -> Result | None:
    """Restore into a folder.

    Args:
        job: What to do.
        folder: The result folder.
        resume: Whether to go on where an earlier run of the same job stopped.
        overwrite: Whether to remove an earlier run.

    Returns:
        The result, or None where the folder has it already.

    Raises:
        HybridDIPError: The job cannot be done. Nothing is left behind that was not there before.
    """
    check_reference(job.reference, job.task)
    check(job.rule, job.task)
    folder.check(job.settings, resume=resume, overwrite=overwrite)
    fewer = folder.fewer_steps(job.settings) if resume else 0
    if resume and folder.finished and not fewer:
        job.say(f"{folder.path} is finished already.")
        return None
    cost = estimate(job.fitted, job.recipe, job.device, job.terms, job.execution)
    folder.open(job.settings, overwrite=overwrite)
    if fewer:
        _lengthen(job, folder, fewer)
    if job.settings.get("noise_sigma_estimated"):
        job.say(estimated(job.task))
    if job.recipe.note:
        job.say(job.recipe.note)
    job.say_what_is_filled_in()
    fits = job.recipe.runs * fits_of(job.rule)
    tiles = job.tiles
    if tiles is not None:
        first = tiles.boxes[0]
        job.say(f"In {len(tiles.boxes)} tiles of {first.width}x{first.height} pixels, {tiles.shared} of them shared.")
        fits *= len(tiles.boxes)
    if job.execution.recomputed:
        job.say("Activations are computed again on the way back: a step takes longer, but fits into memory.")
    job.say(f"{job.task.name}: {cost.sentence(job.recipe.steps, fits)}")
    _say_what_is_shorter(job, fits // job.recipe.runs, fits * job.recipe.steps * cost.seconds_per_step)
    try:
        result = _fit(job, folder)
    except torch.OutOfMemoryError as error:
        folder.discard_if_empty()
        raise TooLargeError(
            f"{job.device} ran out of memory ({str(error).splitlines()[0].rstrip('.')}): take --preset quick, --tile 512, a "
            "part of the image with --crop, or another --device."
        ) from None
    except BaseException:
        folder.discard_if_empty()
        raise
    for note in (note for fit in result.fits for note in fit.notes):
        job.say(note)
    return result


def _say_what_is_shorter(job: Job, parts: int, seconds: float) -> None:
    """Name a preset that takes less than half the time of a long restoration, in as many tiles and replicates."""
    shorter = shorter_preset(job.fitted, job.device, job.execution, seconds / parts)
    if shorter is not None:
        job.say(f"Shorter: --preset {shorter[0]} takes about {duration(parts * shorter[1])}, without priors.")


def _lengthen(job: Job, folder: ResultFolder, before: int) -> None:
    """Let the fits of a folder go on to more steps, and say where that is not what a longer fit would have done."""
    # A fit that took the number of steps that was best may have to take another.
    chosen = isinstance(job.rule, Selection) and job.rule.refit
    folder.lengthen(job.settings, keep=f"*-{job.rule.reason}-*" if chosen else "*")
    job.say(f"Going on from {before} to {job.recipe.steps} steps.")
    parts = parts_over_all_steps(job.recipe, [*job.terms, *job.recipe.terms], before)
    if parts:
        job.say(
            f"{' and '.join(parts)} followed a course for {before} steps so far: the result is not that of a fit that was "
            f"begun with {job.recipe.steps}."
        )


def run_and_tell(job: Job, folder: ResultFolder, *, resume: bool, overwrite: bool) -> Result | None:
    """Restore into a folder, as :func:`run`, and print how it went.

    Args:
        job: What to do.
        folder: The result folder.
        resume: Whether to go on where an earlier run of the same job stopped.
        overwrite: Whether to remove an earlier run.

    Returns:
        The result, or None where the folder has it already.

    Raises:
        Interrupted: The user pressed Ctrl-C; what was done is saved.
        HybridDIPError: The job cannot be done. Nothing is left behind that was not there before.
    """
    result = run(job, folder, resume=resume, overwrite=overwrite)
    if result is not None and result.fits[-1].reason == "interrupted":
        done = steps_of(result.fits[-1])
        raise Interrupted(f"Interrupted after {done} steps; repeat the command with --resume to go on.")
    if result is not None and not job.quiet:
        print(summary(job, result, folder))
    return result


class JobHooks:
    """What surrounds each fit of a job: the PSNR along the fit, frames of an animation, a log, a saved state.

    Args:
        job: The job.
        folder: The result folder, where states are saved and logs written; None where neither is done.
        halt: Asked between two steps whether to end.

    Attributes:
        watches: Seed -> PSNR along its fit; of an image in tiles, along the first tile's fit.
        frames: Frames of the first seed's fit.
    """

    def __init__(self, job: Job, folder: ResultFolder | None, halt: Callable[[], bool]):
        self.job, self.folder, self.halt, self.tiles = job, folder, halt, job.tiles
        self.watches: dict[int, ReferenceWatch] = {}
        self.frames = Frames(job.task)

    def __call__(self, name: FitName) -> FitHooks:
        """Make what surrounds one fit."""
        job, observers = self.job, list[Observer]()
        task, reference = self._seen(name)
        if reference is not None:
            watch = ReferenceWatch(task, reference)
            observers.append(watch)
            self.watches.setdefault(name.seed, watch)
        if job.animate and name == FitName(job.seed):
            observers.append(self.frames)
        if self.folder is None:
            return FitHooks(observers, None, self.halt)
        if job.log is not None:
            writer = log_writer(job.log, self.folder.logs, name.file, job.settings, quiet=job.quiet)
            observers.append(Log(writer, task, reference))
        state = Checkpoint(self.folder.checkpoints / f"{name.file}.pt", job.checkpoint_every)
        return FitHooks(observers, state, self.halt)

    def _seen(self, name: FitName) -> tuple[Task, Tensor | None]:
        """The task of a fit, and the clean image that it is compared with: a fit that only serves another has none."""
        task, reference = self.job.task, None if name.replicate or name.arm else self.job.reference
        if self.tiles is None or name.tile is None:
            return task, reference
        box = self.tiles.boxes[name.tile]
        return part(task, box), None if reference is None else box.of(reference)


def _fit(job: Job, folder: ResultFolder) -> Result:
    with interruptible() as interrupted:
        hooks = JobHooks(job, folder, interrupted)
        result = restore(
            job.task,
            preset=job.recipe,
            regularisers=job.terms,
            rule=job.rule,
            seed=job.seed,
            device=job.device,
            tile=job.recipe.tile or 0,
            time_budget=job.time_budget,
            execution=job.execution,
            progress=not job.quiet,
            hooks=hooks,
        )
    if result.fits[-1].reason != "interrupted":
        with folder.writing():
            _write(job, folder, result, hooks)
    return result


def _write(job: Job, folder: ResultFolder, result: Result, hooks: JobHooks) -> None:
    writer = job.writer(folder)
    writer.save("restored", result.image, job.picture)
    writer.save("last", result.last, job.picture)
    if result.deviation is not None:
        writer.save_array("deviation.npy", result.deviation)
        writer.show_map("deviation.png", result.deviation / result.deviation.max().clamp(min=1e-12))
    if len(result.fits) > 1:
        for seed, fit in zip(result.seeds, result.fits, strict=True):
            writer.show(f"restored-seed-{seed}.png", job.task.finish(fit.image.cpu()))
    rows = history_rows(result.seeds, result.fits, hooks.watches, with_seed=job.recipe.runs > 1)
    writer.write_history(rows)
    first = [row for row in rows if row.get("seed", job.seed) == job.seed]
    figures.save_figure(figures.draw_curves(first, list(result.terms), result.fits[0].kept_at), folder.path / "curves.png")
    writer.compare({"restored": result.image})
    if hooks.frames.frames:
        figures.save_animation(folder.path / "fit.gif", hooks.frames.frames)
    runs = zip(result.seeds, result.fits, strict=True)
    writer.write_manifest(
        {
            "version": __version__,
            "settings": job.settings,
            "parameters": result.parameters,
            "stop": describe_stop(result.fits[0]),
            "runs": [{"seed": seed, **describe_stop(fit), "notes": fit.notes} for seed, fit in runs],
            **describe_time(result.seconds, sum(map(steps_of, result.fits))),
            "hardware": result.hardware,
            **writer.measure(result.image, result.raw),
        }
    )


def summary(job: Job, result: Result, folder: ResultFolder) -> str:
    """What is said at the end: how it went, and where to look."""
    first = result.fits[0]
    several = f"{len(result.fits)} fits, the first of " if len(result.fits) > 1 else ""
    steps = f"{several}{steps_of(first)} steps in {duration(result.seconds)}"
    ended = f"{steps}, ended by {first.reason}, kept step {first.kept_at}"
    return job.writer(folder).closing_words(ended, result.image, result.raw, ["comparison.png", "restored.png"])
