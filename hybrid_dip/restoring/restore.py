"""Task + preset + terms -> result: one call for a whole restoration."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import NOT_ALONE, PLAIN, Execution
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import forked_random_state
from hybrid_dip.fitting.solvers.langevin import DEVIATION
from hybrid_dip.problem.tiles import Tiles, part
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.recipes.without_fit import check_without_fit
from hybrid_dip.regularisers.terms import Term, Terms, as_terms
from hybrid_dip.restoring.plan import planned
from hybrid_dip.stopping.selection import OTHER_STEPS, Selection, select, steps_of

LOGGED_ROWS = 60
"""About so many rows a history has; steps are logged every 50 at most."""


@dataclass(frozen=True)
class RunHooks:
    """What surrounds the fit of one seed.

    Attributes:
        observers: Who watches.
        checkpoint: Where it is saved.
        halt: Asked between steps whether to end.
        close: Called when the fit is over, however it ended.
        tile: Number of a tile -> what surrounds its fit, where the image is fitted in tiles.
        before: Name -> what surrounds a fit that is made before the one that counts, by a selection.
    """

    observers: Sequence[Observer] = ()
    checkpoint: Checkpoint | None = None
    halt: Callable[[], bool] | None = None
    close: Callable[[], None] = lambda: None
    tile: "Callable[[int], RunHooks] | None" = None
    before: "Callable[[str], RunHooks] | None" = None

    def preliminary(self, name: str) -> "RunHooks":
        """What surrounds a fit before the one that counts; it ends with that one, whoever watches."""
        return RunHooks(halt=self.halt) if self.before is None else self.before(name)

    def of_tile(self, number: int) -> "RunHooks":
        """What surrounds the fit of one tile; it ends with the image's, whoever watches.

        Raises:
            SettingsError: These hooks watch or save one fit, and there are several.
        """
        if self.tile is not None:
            return self.tile(number)
        if self.observers or self.checkpoint is not None:
            raise SettingsError(
                "An image that is fitted in tiles has a fit a tile: give RunHooks(tile=...) what surrounds each, or tile=0 for "
                "the whole image at once."
            )
        return RunHooks(halt=self.halt)


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


def evaluated_by_the_loop_alone(recipe: Recipe, terms: Sequence[Term]) -> bool:
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
    hooks: Callable[[int], RunHooks] = lambda seed: RunHooks(),
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
        hooks: Seed -> observers, checkpoint and halt of that run.

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
    recipe, tiles = planned(task, preset, tile, given)
    if steps is not None and not isinstance(preset, Recipe):
        check_without_fit(recipe, ["steps"])
    recipe = replace(recipe, runs=runs or recipe.runs, steps=steps or recipe.steps)
    terms = as_terms([*given, *recipe.terms])
    if execution.graphed and not evaluated_by_the_loop_alone(recipe, terms):
        raise SettingsError(NOT_ALONE)
    where = devices.pick(device) if isinstance(device, str) else device
    seeds = tuple(range(seed, seed + recipe.runs))
    every = log_every or log_interval(recipe.steps)
    budget = time_budget if time_budget is None or tiles is None else time_budget / len(tiles.boxes)
    fits: list[Fit] = []
    parameters = 0
    for one in seeds:
        around = hooks(one)

        def fitted(task: Task, hooks: RunHooks, seed: int = one) -> Fit:
            nonlocal parameters
            found, parameters = _fit_seed(
                task.to(where), recipe, terms, rule or recipe.rule, seed, where, budget, execution, every, hooks
            )
            return found

        try:
            fits.append(fitted(task, around) if tiles is None else _in_tiles(task, tiles, fitted, around))
        finally:
            around.close()
        if fits[-1].reason == "interrupted":
            break
    return _combine(task, recipe, terms, tuple(fits), seeds[: len(fits)], parameters, where, execution, tiles)


def _in_tiles(task: Task, tiles: Tiles, fitted: Callable[[Task, RunHooks], Fit], hooks: RunHooks) -> Fit:
    """One fit a tile, until somebody asks to end."""
    fits: list[Fit] = []
    for number, box in enumerate(tiles.boxes):
        around = hooks.of_tile(number)
        try:
            fits.append(fitted(part(task, box), around))
        finally:
            around.close()
        if fits[-1].reason == "interrupted":
            break
    return blended(fits, tiles)


def _fit_seed(
    task: Task,
    recipe: Recipe,
    terms: Terms,
    rule: Rule | Selection,
    seed: int,
    device: torch.device,
    time_budget: float | None,
    execution: Execution,
    log_every: int,
    hooks: RunHooks,
) -> tuple[Fit, int]:
    parameters = 0

    def once(task: Task, rule: Rule, name: str, observers: Sequence[Observer]) -> Fit:
        """One fit from the seed's own start."""
        nonlocal parameters
        around = hooks.preliminary(name) if name else hooks
        try:
            with forked_random_state(device), execution.global_settings():
                network, latent = prepare(task, recipe, seed)
                parameters = sum(p.numel() for p in network.parameters())
                solve = fit if recipe.solver is None else recipe.solver.run
                return solve(
                    execution.apply(network.to(device), device),
                    latent.to(device),
                    task,
                    copy.deepcopy(terms),  # without the memory of an earlier fit
                    rule=rule,
                    max_steps=recipe.steps,
                    optimizer=recipe.optimizer(recipe.lr),
                    lr_schedule=recipe.lr_schedule,
                    optimise=recipe.optimise,
                    jitter=recipe.jitter,
                    average=recipe.average,
                    parameter_noise=recipe.parameter_noise,
                    fallback=recipe.fallback,
                    log_every=log_every,
                    time_budget=time_budget,
                    halt=around.halt,
                    checkpoint=around.checkpoint,
                    observers=[*observers, *around.observers],
                )
        finally:
            if name:
                around.close()

    found = select(rule, task, once) if isinstance(rule, Selection) else once(task, rule, "", [])
    return found, parameters


def _refined(
    x: Tensor, task: Task, refine: Callable[[Tensor, Task], Tensor], device: torch.device, tiles: Tiles | None
) -> Tensor:
    """An image gone on from, in tiles where it was fitted in them, so that it takes no more memory."""
    if tiles is None:
        return refine(x.to(device), task.to(device)).cpu()
    return tiles.blend([refine(box.of(x).contiguous().to(device), part(task, box).to(device)) for box in tiles.boxes])


def _combine(
    task: Task,
    recipe: Recipe,
    terms: Sequence[Term],
    fits: tuple[Fit, ...],
    seeds: tuple[int, ...],
    parameters: int,
    device: torch.device,
    execution: Execution,
    tiles: Tiles | None,
) -> Result:
    """Average the runs of several seeds, refine the average where the recipe says so, and finish the images."""
    here = task.to("cpu")
    raw = torch.stack([found.image.cpu() for found in fits])
    last = torch.stack([found.last.cpu() for found in fits])
    mean, started = raw.mean(0), time.perf_counter()
    if recipe.refine is not None and fits[-1].reason != "interrupted":
        mean = _refined(mean, task, recipe.refine, device, tiles)
    refining = time.perf_counter() - started
    finished = torch.stack([here.finish(image) for image in raw])
    sampled = fits[0].extras[DEVIATION].cpu() if DEVIATION in fits[0].extras else None
    return Result(
        image=here.finish(mean),
        raw=mean,
        last=here.finish(last.mean(0)),
        deviation=finished.std(0) if len(fits) > 1 else sampled,
        fits=fits,
        seeds=seeds,
        recipe=recipe,
        terms={term.name: str(term.weight) for term in terms},
        seconds=sum(found.seconds for found in fits) + refining,
        parameters=parameters,
        hardware={**devices.describe(device), "execution": str(execution)},
    )


def blended(fits: Sequence[Fit], tiles: Tiles) -> Fit:
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
