"""Task + preset + terms -> result: a whole restoration in one call."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Case, Fit, Rule, Task
from hybrid_dip.errors import SettingsError, check_function, check_kind, finite_number, whole_number
from hybrid_dip.execution import devices
from hybrid_dip.execution.forks import check_fork
from hybrid_dip.execution.precision import NOT_ALONE, PLAIN, Execution
from hybrid_dip.fitting.bar import is_shown
from hybrid_dip.fitting.solvers.langevin import DEVIATION
from hybrid_dip.images.kinds import AnyImage
from hybrid_dip.problem import tasks
from hybrid_dip.problem.tiles import part
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.recipes.without_fit import check_without_fit
from hybrid_dip.regularisers.terms import Term, as_terms
from hybrid_dip.restoring.hooks import Bars, HooksOf, SeparateStates, Watched, no_hooks
from hybrid_dip.restoring.plan import recipe_and_tiles
from hybrid_dip.restoring.result import Result
from hybrid_dip.restoring.seeds import PARAMETERS, Restoration, fit_seeds
from hybrid_dip.stopping.selection import Selection

LOGGED_ROWS = 60
"""A history has about this many rows, and at least one in 50 steps is logged."""


def only_the_loop_evaluates(recipe: Recipe, terms: Sequence[Term]) -> bool:
    """Whether a step evaluates the network only once, to change its parameters. Only such a step can be a CUDA graph.

    Args:
        recipe: What is fitted.
        terms: All regularisers, those of the recipe among them.

    Returns:
        False with a solver in place of the loop, a latent that is optimised, or a term that acts on the network.
    """
    return recipe.solver is None and recipe.optimise == "network" and not any(term.acts_on_network for term in terms)


def log_interval(steps: int) -> int:
    """Steps between two logged ones, so that a history has about :data:`LOGGED_ROWS` rows."""
    return max(1, min(50, math.ceil(steps / LOGGED_ROWS)))


@torch.inference_mode(False)
@torch.enable_grad()
def restore(
    task: Task | Case | AnyImage,
    *,
    preset: str | Preset | Recipe = "fast",
    regularisers: Any = (),
    rule: Rule | Selection | None = None,
    seed: int = 0,
    device: str | torch.device | None = "auto",
    runs: int | None = None,
    steps: int | None = None,
    tile: int | None = None,
    time_budget: float | None = None,
    execution: Execution = PLAIN,
    log_every: int | None = None,
    progress: bool | str | None = None,
    hooks: HooksOf = no_hooks,
) -> Result:
    """Restore one image.

    On the CPU, with the same number of threads, the same seed gives the same floats, from several threads at once as well. The
    caller's random state is neither used nor changed.

    Args:
        task: The task, such as one of :mod:`hybrid_dip.problem.tasks`; a case, whose clean image the result is shown beside; or
            an image of any kind, which is taken for a noisy one.
        preset: "fast", "original", "quick", another name of the catalogue, ``file.py:name``, a preset, or a recipe.
        regularisers: A term, a callable x -> scalar (weight 1), or several of them.
        rule: When to stop and what to keep, or a selection by held-out data. The default is the recipe's; for most recipes that
            is all steps and the last iterate.
        seed: Seed of the network, the latent and the jitter.
        device: "auto" (also None), "cpu", "cuda", "mps" or a torch device.
        runs: Number of fits with seeds ``seed``, ``seed + 1``, ..., whose images are averaged. The default is the recipe's.
        steps: Number of steps of each fit. The default is the recipe's.
        tile: Side in pixels of the tiles in which a larger image is fitted; 0 for the whole at once. The default is the
            recipe's.
        time_budget: Seconds for each seed; tiles share them evenly.
        execution: How the network is evaluated: its precision, and whether it is compiled or recorded.
        log_every: Steps between two logged ones. The default is the recipe's, or :func:`log_interval` of the steps.
        progress: Whether a bar shows how each fit goes on, in a notebook with a small picture; or the text in front of the bar.
            By default there is one in a notebook, and where stderr is a terminal.
        hooks: Says for each fit, by its seed, tile and replicate, what watches it, where it is saved, and when it is to end
            (:mod:`hybrid_dip.restoring.hooks`).

    Returns:
        The result, on the CPU.

    Raises:
        SettingsError: An option is out of range; a name is not known; the rule does not apply to the task; the preset makes no
            fit and has no steps; there can be no CUDA graph; the task cannot be tiled; two fits are saved in one file.
        FitError: The objective is not a finite scalar at the first step, or no step led to an image that is better than none.
    """
    reference = task.reference if isinstance(task, Case) else None
    if isinstance(task, Case):
        task = task.task
    elif not isinstance(task, Task):
        task = tasks.denoise(task)
    counts = {"runs": runs, "steps": steps, "log_every": log_every}
    runs, steps, log_every = (None if count is None else whole_number(name, count) for name, count in counts.items())
    seed, tile = whole_number("seed", seed, 0), None if tile is None else whole_number("tile", tile, 0)
    if time_budget is not None:
        time_budget = finite_number("time_budget", time_budget, above=True)
    check_kind("execution", execution, Execution, "an Execution (hybrid_dip.execution.precision)")
    check_function("hooks", hooks, "a function that says what surrounds a fit (hybrid_dip.restoring.hooks)")
    given = as_terms(regularisers)
    recipe, tiles = recipe_and_tiles(task, preset, tile, given)
    if steps is not None and not isinstance(preset, Recipe):
        check_without_fit(recipe, ["steps"])
    recipe = replace(recipe, runs=runs or recipe.runs, steps=steps or recipe.steps)
    terms = as_terms([*given, *recipe.terms])
    if execution.graphed and not only_the_loop_evaluates(recipe, terms):
        raise SettingsError(NOT_ALONE)
    where = devices.pick(device)
    check_fork(where)
    seeds = tuple(range(seed, seed + recipe.runs))
    hooks = SeparateStates(hooks)
    watched = None if reference is None else Watched(hooks, task, reference)
    hooks = watched or hooks
    if is_shown(progress):
        label = progress if isinstance(progress, str) else task.name
        hooks = Bars(hooks, task, label, recipe.steps, len(seeds), 1 if tiles is None else len(tiles.boxes))
    restoration = Restoration(
        task=task,
        recipe=recipe,
        terms=terms,
        rule=rule or recipe.rule,
        tiles=tiles,
        device=where,
        execution=execution,
        log_every=log_every or recipe.log_every or log_interval(recipe.steps),
        time_budget=time_budget if time_budget is None or tiles is None else time_budget / len(tiles.boxes),
        hooks=hooks,
    )
    fits = fit_seeds(restoration, seeds)
    result = _combine(restoration, fits, seeds[: len(fits)])
    along = {} if watched is None or seed not in watched.watches else watched.watches[seed].psnr
    return replace(result, reference=reference, psnr=along)


def _combine(restoration: Restoration, fits: Sequence[Fit], seeds: Sequence[int]) -> Result:
    """Average the fits of several seeds, refine the average where the recipe says so, and finish the images."""
    task, recipe = restoration.task.to("cpu"), restoration.recipe
    raw = torch.stack([fit.image.cpu() for fit in fits])
    last = torch.stack([fit.last.cpu() for fit in fits])
    mean, started = raw.mean(0), time.perf_counter()
    if recipe.refine is not None and fits[-1].reason != "interrupted":
        mean = _refine(restoration, recipe.refine, mean)
    refining = time.perf_counter() - started
    finished = torch.stack([task.finish(image) for image in raw])
    sampled = fits[0].extras[DEVIATION].cpu() if DEVIATION in fits[0].extras else None
    return Result(
        image=task.finish(mean),
        raw=mean,
        last=task.finish(last.mean(0)),
        deviation=finished.std(0) if len(fits) > 1 else sampled,
        fits=tuple(fits),
        seeds=tuple(seeds),
        recipe=recipe,
        terms={term.name: str(term.weight) for term in restoration.terms},
        seconds=sum(fit.seconds for fit in fits) + refining,
        parameters=fits[-1].extras[PARAMETERS],
        task=task,
        hardware={**devices.describe(restoration.device), "execution": str(restoration.execution)},
    )


def _refine(restoration: Restoration, refine: Callable[[Tensor, Task], Tensor], x: Tensor) -> Tensor:
    """Go on from an image. It goes on in tiles where it was fitted in them, so that it takes no more memory."""
    task, device, tiles = restoration.task, restoration.device, restoration.tiles
    if tiles is None:
        return refine(x.to(device), task.to(device)).cpu()
    return tiles.blend([refine(box.of(x).contiguous().to(device), part(task, box).to(device)) for box in tiles.boxes])
