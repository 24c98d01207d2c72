"""Task + preset + terms -> result: one call for a whole restoration."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import NOT_ALONE, PLAIN, Execution
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import forked_random_state
from hybrid_dip.fitting.solvers.langevin import DEVIATION
from hybrid_dip.problem.tiles import Tiles, part
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.recipes.without_fit import check_without_fit
from hybrid_dip.regularisers.terms import Term, Terms, as_terms
from hybrid_dip.restoring.hooks import FitName, HooksOf, SeparateStates, no_hooks
from hybrid_dip.restoring.plan import recipe_and_tiles
from hybrid_dip.stopping.selection import OTHER_STEPS, Selection, select, steps_of

PARAMETERS = "parameters"
"""Among the extras of a fit of :func:`restore`: how many trainable numbers the network has."""
LOGGED_ROWS = 60
"""About so many rows a history has; steps are logged every 50 at most."""


@dataclass(frozen=True, eq=False)
class Result:
    """A restored image; with several runs, their average.

    Attributes:
        image: Finished: clamped, known pixels pasted back; (1, C, H, W) on the CPU.
        raw: Before finishing: the network's kept output, averaged over runs, and refined where the recipe says so.
        last: The last iterate, finished, averaged over runs.
        deviation: Per-pixel standard deviation, (1, C, H, W): between the runs' finished images, or of a single run's samples
            where its solver draws some; else None.
        fits: One a seed, in order.
        seeds: Of the fits.
        recipe: What was fitted.
        terms: Name -> weight, as text.
        seconds: Of all fits, and of refining.
        parameters: Numbers that the network has.
        hardware: Device, threads and versions.
    """

    image: Tensor
    raw: Tensor
    last: Tensor
    deviation: Tensor | None
    fits: tuple[Fit, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    terms: dict[str, str]
    seconds: float
    parameters: int
    hardware: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Restoration:
    """What is fitted to one image, and how; the same for all of its fits.

    Attributes:
        task: The task of the whole image.
        recipe: What is fitted to the whole image, or to each tile.
        terms: All regularisers, those of the recipe among them.
        rule: When to stop, or a selection by held-out data.
        tiles: The tiles in which the image is fitted; None for the whole at once.
        device: Where the fits run.
        execution: How the network is evaluated.
        log_every: Steps between two logged ones.
        time_budget: Seconds for each fit, or None.
        hooks: What surrounds each fit.
    """

    task: Task
    recipe: Recipe
    terms: Terms
    rule: Rule | Selection
    tiles: Tiles | None
    device: torch.device
    execution: Execution
    log_every: int
    time_budget: float | None
    hooks: HooksOf


def only_the_loop_evaluates(recipe: Recipe, terms: Sequence[Term]) -> bool:
    """Whether a step evaluates the network once, to change its parameters: what a CUDA graph of it can replay.

    Args:
        recipe: What is fitted.
        terms: Regularisers, with those of the recipe.

    Returns:
        False with a solver in place of the loop, a latent that is optimised, or a term that acts on the network.
    """
    return recipe.solver is None and recipe.optimise == "network" and not any(term.acts_on_network for term in terms)


def log_interval(steps: int) -> int:
    """Steps between two logged ones, for about :data:`LOGGED_ROWS` rows."""
    return max(1, min(50, math.ceil(steps / LOGGED_ROWS)))


def restore(
    task: Task,
    *,
    preset: str | Preset | Recipe = "original",
    regularisers: Any = (),
    rule: Rule | Selection | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    runs: int | None = None,
    steps: int | None = None,
    tile: int | None = None,
    time_budget: float | None = None,
    execution: Execution = PLAIN,
    log_every: int | None = None,
    hooks: HooksOf = no_hooks,
) -> Result:
    """Restore one image.

    Seeds inside ``torch.random.fork_rng``, so the caller's random state is untouched. On the CPU, with as many threads, the
    same seed gives the same floats again.

    Args:
        task: From :mod:`hybrid_dip.problem.tasks`.
        preset: "original", "fast", "quick", another name of the catalogue, ``file.py:name``, a preset, or one's own recipe.
        regularisers: A term, a bare callable x -> scalar (weight 1), or any number of them.
        rule: When to stop and what to keep, or a selection by held-out data; by default the recipe's, which for most is all
            steps and the last iterate.
        seed: Of the network, the latent and the jitter.
        device: "auto", "cpu", "cuda", "mps" or a torch device.
        runs: Fits with seeds ``seed``, ``seed + 1``, ..., whose images are averaged, instead of the recipe's number.
        steps: Instead of the recipe's number.
        tile: Side in pixels of the tiles that a larger image is fitted in, instead of the recipe's; 0: the whole at once.
        time_budget: Seconds for each seed's fit; tiles share them evenly.
        execution: How the network is evaluated: its precision, and whether it is compiled or recorded.
        log_every: Steps between two logged ones; by default :func:`log_interval` of the steps.
        hooks: Says for each fit, by its seed, tile and replicate, who watches it, where it is saved, and when it is to end.

    Returns:
        The result, on the CPU.

    Raises:
        SettingsError: An option out of range, a name that is not known, a rule that does not apply to the task, steps for a
            preset without a fit, a CUDA graph where there can be none, or tiles of a task that cannot be tiled.
        FitError: The objective is not a finite scalar at the first step.
    """
    for name, count in {"runs": runs, "steps": steps, "log_every": log_every}.items():
        if count is not None and count < 1:
            raise SettingsError(f"{name} must be a whole number of at least 1, got {count}.")
    given = as_terms(regularisers)
    recipe, tiles = recipe_and_tiles(task, preset, tile, given)
    if steps is not None and not isinstance(preset, Recipe):
        check_without_fit(recipe, ["steps"])
    recipe = replace(recipe, runs=runs or recipe.runs, steps=steps or recipe.steps)
    terms = as_terms([*given, *recipe.terms])
    if execution.graphed and not only_the_loop_evaluates(recipe, terms):
        raise SettingsError(NOT_ALONE)
    where = devices.pick(device) if isinstance(device, str) else device
    seeds = tuple(range(seed, seed + recipe.runs))
    restoration = Restoration(
        task=task,
        recipe=recipe,
        terms=terms,
        rule=rule or recipe.rule,
        tiles=tiles,
        device=where,
        execution=execution,
        log_every=log_every or log_interval(recipe.steps),
        time_budget=time_budget if time_budget is None or tiles is None else time_budget / len(tiles.boxes),
        hooks=SeparateStates(hooks),
    )
    fits = _until_interrupted(fit_seed(restoration, one) for one in seeds)
    return combine(restoration, fits, seeds[: len(fits)])


def _until_interrupted(fits: Iterable[Fit]) -> tuple[Fit, ...]:
    """Make fits one after the other, up to the first that was interrupted."""
    made: list[Fit] = []
    for one in fits:
        made.append(one)
        if one.reason == "interrupted":
            break
    return tuple(made)


def fit_seed(restoration: Restoration, seed: int) -> Fit:
    """Fit an image with one seed.

    Args:
        restoration: What is fitted.
        seed: Seed of the network, the latent and the jitter.

    Returns:
        The fit, of an image in tiles the blend of theirs.
    """
    task, tiles = restoration.task, restoration.tiles
    if tiles is None:
        return _fit_task(restoration, task, FitName(seed))
    parts = (_fit_task(restoration, part(task, box), FitName(seed, tile)) for tile, box in enumerate(tiles.boxes))
    return blend_fits(_until_interrupted(parts), tiles)


def _fit_task(restoration: Restoration, task: Task, name: FitName) -> Fit:
    """Fit the image or a tile of it: once, or as often as a selection asks."""
    task, rule = task.to(restoration.device), restoration.rule
    if not isinstance(rule, Selection):
        return _fit_once(restoration, task, rule, name)

    def once(task: Task, rule: Rule, replicate: str, observers: Sequence[Observer]) -> Fit:
        return _fit_once(restoration, task, rule, replace(name, replicate=replicate), observers)

    return select(rule, task, once)


def _fit_once(restoration: Restoration, task: Task, rule: Rule, name: FitName, observers: Sequence[Observer] = ()) -> Fit:
    """One fit, from its seed's own start."""
    recipe, device, execution = restoration.recipe, restoration.device, restoration.execution
    hooks = restoration.hooks(name)
    try:
        with forked_random_state(device), execution.global_settings():
            network, latent = prepare(task, recipe, name.seed)
            parameters = sum(p.numel() for p in network.parameters())
            solve = fit if recipe.solver is None else recipe.solver.run
            made = solve(
                execution.apply(network.to(device), device),
                latent.to(device),
                task,
                copy.deepcopy(restoration.terms),  # without the memory of an earlier fit
                rule=rule,
                max_steps=recipe.steps,
                optimizer=recipe.optimizer(recipe.lr),
                lr_schedule=recipe.lr_schedule,
                optimise=recipe.optimise,
                jitter=recipe.jitter,
                average=recipe.average,
                parameter_noise=recipe.parameter_noise,
                fallback=recipe.fallback,
                log_every=restoration.log_every,
                time_budget=restoration.time_budget,
                halt=hooks.halt,
                checkpoint=hooks.checkpoint,
                observers=[*observers, *hooks.observers],
            )
    finally:
        hooks.close()
    return replace(made, extras={**made.extras, PARAMETERS: parameters})


def combine(restoration: Restoration, fits: Sequence[Fit], seeds: Sequence[int]) -> Result:
    """Average the fits of several seeds, refine the average where the recipe says so, and finish the images.

    Args:
        restoration: What was fitted.
        fits: The fit of each seed.
        seeds: The seeds, in the same order.

    Returns:
        The result.
    """
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
        hardware={**devices.describe(restoration.device), "execution": str(restoration.execution)},
    )


def _refine(restoration: Restoration, refine: Callable[[Tensor, Task], Tensor], x: Tensor) -> Tensor:
    """Go on from an image; in tiles where it was fitted in them, so that it takes no more memory."""
    task, device, tiles = restoration.task, restoration.device, restoration.tiles
    if tiles is None:
        return refine(x.to(device), task.to(device)).cpu()
    return tiles.blend([refine(box.of(x).contiguous().to(device), part(task, box).to(device)) for box in tiles.boxes])


def blend_fits(fits: Sequence[Fit], tiles: Tiles) -> Fit:
    """The fits of tiles as one.

    Args:
        fits: One a tile, in their order; fewer where somebody asked to end.
        tiles: Where they lie.

    Returns:
        A fit with the images of all tiles, black where none has been fitted; the steps, the notes and the seconds of all;
        whether it was interrupted; and the rest, its history among it, from the first.
    """
    first = fits[0]
    deviations = [fit.extras[DEVIATION] for fit in fits if DEVIATION in fit.extras]
    extras = {name: value for name, value in first.extras.items() if name != DEVIATION}
    if len(deviations) == len(tiles.boxes):
        extras[DEVIATION] = tiles.blend(deviations)
    return replace(
        first,
        image=tiles.blend([fit.image for fit in fits]),
        last=tiles.blend([fit.last for fit in fits]),
        reason=fits[-1].reason if fits[-1].reason == "interrupted" else first.reason,
        notes=tuple(note for fit in fits for note in fit.notes),
        extras={**extras, OTHER_STEPS: sum(map(steps_of, fits)) - first.steps},
        seconds=sum(fit.seconds for fit in fits),
    )
