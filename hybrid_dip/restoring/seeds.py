"""The fits of one image: with each seed, of each tile, and of the replicates that a selection asks for."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.execution.precision import Execution
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import Draws
from hybrid_dip.fitting.solvers.langevin import DEVIATION
from hybrid_dip.problem.tiles import Tiles, part
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Terms
from hybrid_dip.restoring.hooks import FitName, HooksOf
from hybrid_dip.stopping.selection import OTHER_STEPS, Selection, select, steps_of

PARAMETERS = "parameters"
"""Among the extras of a fit of an image: how many trainable numbers the network has."""


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


def fit_seeds(restoration: Restoration, seeds: Iterable[int]) -> tuple[Fit, ...]:
    """Fit an image with several seeds, one after the other.

    Args:
        restoration: What is fitted.
        seeds: Seeds of the network, the latent and the jitter.

    Returns:
        The fit of each seed, up to the first that was interrupted. The fit of an image in tiles is the blend of theirs.
    """
    return _until_interrupted(_fit_seed(restoration, seed) for seed in seeds)


def _until_interrupted(fits: Iterable[Fit]) -> tuple[Fit, ...]:
    """Make fits one after the other, up to the first that was interrupted."""
    made: list[Fit] = []
    for one in fits:
        made.append(one)
        if one.reason == "interrupted":
            break
    return tuple(made)


def _fit_seed(restoration: Restoration, seed: int) -> Fit:
    """Fit the whole image, or each of its tiles."""
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
        with execution.global_settings(device):
            draws = Draws(name.seed)
            network, latent = prepare(task, recipe, name.seed, draws)
            parameters = sum(p.numel() for p in network.parameters())
            solve = fit if recipe.solver is None else recipe.solver.run
            made = solve(
                execution.apply(network.to(device), device),
                latent.to(device),
                task,
                copy.deepcopy(restoration.terms),  # without the memory of an earlier fit
                rule=rule,
                max_steps=recipe.steps,
                optimizer=recipe.build_optimizer(),
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
                generator=draws.on(device),
                observers=[*observers, *hooks.observers],
            )
    finally:
        hooks.close()
    return replace(made, extras={**made.extras, PARAMETERS: parameters})


def blend_fits(fits: Sequence[Fit], tiles: Tiles) -> Fit:
    """Make one fit of the fits of all tiles.

    Args:
        fits: The fit of each tile, in their order; fewer where a fit was interrupted.
        tiles: Where the tiles lie.

    Returns:
        A fit with the images of all tiles, black where no tile has been fitted. The steps, the notes and the seconds are those
        of all fits. The rest, such as the history, is that of the first.
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
