"""Task + preset + terms -> result: one call for a whole restoration."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip import devices, latents, spec
from hybrid_dip.catalogue import catalogue
from hybrid_dip.checkpoint import Checkpoint, forked_random_state
from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.denoiser_presets import check_without_fit
from hybrid_dip.errors import HybridDIPError, SettingsError, told
from hybrid_dip.execution import NOT_ALONE, PLAIN, Execution
from hybrid_dip.fit import fit
from hybrid_dip.recipe import Preset, Recipe
from hybrid_dip.selection import Selection, select
from hybrid_dip.solvers.langevin import DEVIATION
from hybrid_dip.terms import Term, Terms, as_terms
from hybrid_dip.tiling import Tiles, blended, least_known, own_tiles, part, tiles_of

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


def prepare(task: Task, recipe: Recipe, seed: int) -> tuple[nn.Module, Tensor]:
    """Seed the global random state and draw the network and the latent in the original's order, on the CPU.

    Args:
        task: For the shape, and for the latent where it brings one.
        recipe: What to make.
        seed: Of everything random; the state after this call is where the jitter goes on.

    Returns:
        The network in training mode, and z.

    Raises:
        SettingsError: A seed out of range, options that the network or the latent cannot be made with, or a start for another
            network.
    """
    if not 0 <= seed < 2**63:
        raise SettingsError(f"A seed must be a whole number from 0 to 2^63 - 1, got {seed}.")
    recipe = recipe.bind(task)
    torch.manual_seed(seed)
    size = (task.shape[-2], task.shape[-1])

    def draw() -> Tensor:
        return recipe.latent(size=size) if task.latent is None else latents.image(task.latent).cpu()

    try:
        z = draw() if recipe.latent_first else None
        channels = _channels(recipe, task, z)
        network = recipe.build_network(channels, task.shape[1], size)
        if not isinstance(network, nn.Module):
            raise SettingsError(f"A network must be a torch module, got {type(network).__name__}.")
        if recipe.start is not None:
            recipe.start.fill(network)
        network.train()
        return network, draw() if z is None else z
    except HybridDIPError:
        raise
    except Exception as error:  # a network may be anybody's code
        raise SettingsError(f"The network or the latent cannot be made: {told(error)}.") from error


def sketch(task: Task, recipe: Recipe) -> tuple[nn.Module, Tensor]:
    """The network and the latent on torch's meta device, which allocates nothing; with values where they cannot be made so.

    Args:
        task: For the shape.
        recipe: What to make.

    Returns:
        The network and z; the global random state stays as it is.

    Raises:
        SettingsError: Options that the network or the latent cannot be made with.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return prepare(task, recipe, seed=0)
        except SettingsError:  # some look at their own values while they are made
            return prepare(task, recipe, seed=0)


def _channels(recipe: Recipe, task: Task, z: Tensor | None) -> int:
    """How many channels z has, without drawing it before its turn."""
    if z is not None:
        return z.shape[1]
    if task.latent is not None:
        return task.latent.shape[1]
    with torch.random.fork_rng(devices=[]):
        return recipe.latent(size=(2, 2)).shape[1]


def resolve(preset: str | Preset | Recipe, task: Task) -> Recipe:
    """A recipe from a preset's SPEC, a preset, or itself.

    Args:
        preset: Any of the three; a SPEC is a name of the catalogue or ``file.py:name``, with options.
        task: To choose the recipe for.

    Returns:
        The recipe.

    Raises:
        SettingsError: An unknown name or option, or a preset for other tasks.
    """
    if isinstance(preset, Recipe):
        return preset
    chosen: Preset = spec.build(preset, "presets", catalogue()) if isinstance(preset, str) else preset
    return chosen(task)


def planned(
    task: Task, preset: str | Preset | Recipe, tile: int | None = None, terms: Sequence[Term] = ()
) -> tuple[Recipe, Tiles | None]:
    """What is fitted to an image: the recipe, and the tiles where it is not the whole image at once.

    Args:
        task: To be restored.
        preset: As for :func:`resolve`; of an image in tiles the recipe is that for a tile.
        tile: Side of the tiles in pixels at most, instead of the recipe's; 0: the whole image at once.
        terms: Regularisers; some hold an image as large as the whole, which takes no tiles.

    Returns:
        Both; the recipe's ``tile`` is the side that is taken, or None.

    Raises:
        SettingsError: As :func:`resolve`; or tiles were asked for that cannot be.
    """
    recipe = resolve(preset, task)
    whole = [term.name for term in [*terms, *recipe.terms] if term.of_whole_image]
    if tile is None:
        tiles = own_tiles(task, recipe.tile) if recipe.tile and not whole else None
    elif tile == 0:
        tiles = None
    elif whole:
        raise SettingsError(f"'{whole[0]}' holds an image as large as the whole, which is not cut into tiles; leave tiles out.")
    else:
        found = tiles_of(task, tile)
        tiles = found if len(found.boxes) > 1 else None
        if not least_known(task, found):
            raise SettingsError(f"In a tile of {tile} pixels nothing was measured; give larger ones, or leave tiles out.")
    if tiles is None:
        return replace(recipe, tile=None), None
    side = recipe.tile if tile is None else tile
    return replace(resolve(preset, part(task, tiles.boxes[0])), tile=side), tiles


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
        task: From :mod:`hybrid_dip.tasks`.
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
            with forked_random_state(device), execution.around():
                network, latent = prepare(task, recipe, seed)
                parameters = sum(p.numel() for p in network.parameters())
                solve = fit if recipe.solver is None else recipe.solver.run
                return solve(
                    execution.applied(network.to(device), device),
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
