"""What a fit will cost, before it starts: parameters, memory, seconds a step."""

import copy
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hybrid_dip.contracts import Step, Task
from hybrid_dip.errors import HybridDIPError, SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.execution.recompute import Part, run_in_parts
from hybrid_dip.execution.timing import Timing, candidates, fastest
from hybrid_dip.problem.tiles import can_be_tiled, of_one_fit
from hybrid_dip.recipes.prepare import sketch
from hybrid_dip.recipes.recipe import ALL_STEPS, Preset, Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.restoring.plan import planned
from hybrid_dip.restoring.restore import evaluated_by_the_loop_alone, log_interval, restore

OVERHEAD, OVERHEAD_RECOMPUTED = 1.9, 1.58
"""Temporary buffers of convolutions, gradients, and gaps in the memory that is kept between steps, over what autograd saves;
less where activations are computed again, for then nothing that is freed is kept. benchmarks/memory.py measures both."""
ALWAYS = 16 * 2**20
"""Bytes that the libraries under a step keep, however small the image."""


class TooLargeError(HybridDIPError, MemoryError):
    """A fit that would not fit into the device's free memory."""


@dataclass(frozen=True)
class Estimate:
    """What a fit will cost.

    Attributes:
        parameters: Trainable numbers of the network.
        memory: Bytes at the peak of a step: activations, parameters, gradients and the optimiser's moments; 0 where not known.
        seconds_per_step: Measured on one step, with its regularisers, after one to warm up.
    """

    parameters: int
    memory: int
    seconds_per_step: float

    def sentence(self, steps: int, fits: int = 1) -> str:
        """One line for a person."""
        return (
            f"{self.parameters:,} parameters, "
            + (f"about {self.memory / 2**20:,.0f} MiB of memory, " if self.memory else "memory not known beforehand, ")
            + f"{self.seconds_per_step:.3g} s a step: {duration(fits * steps * self.seconds_per_step)} for {steps} steps"
            + (f" in each of {fits} fits" if fits > 1 else "")
        )


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def count_parameters(task: Task, recipe: Recipe) -> int:
    """How many trainable numbers the network has, counted without allocating them.

    Args:
        task: The task that the network is made for.
        recipe: The recipe that makes it.

    Returns:
        The number.
    """
    return sum(p.numel() for p in sketch(task, recipe)[0].parameters())


def memory_of_a_step(task: Task, recipe: Recipe, *, recomputed: bool = False) -> int:
    """Bytes that one step of Adam takes, counted without allocating them.

    The network is made and run on torch's meta device, which computes shapes only; what autograd would save is added up,
    and the parameters count four times: themselves, their gradient, and two moments.

    Args:
        task: For the size, and the number of image-sized tensors that the loop keeps.
        recipe: For the network and the latent.
        recomputed: Whether activations are computed again: of each part its input is kept, and the largest of all inside.

    Returns:
        Bytes; 0 where they cannot be told, because the network looks at its values.
    """
    network, latent = sketch(task, recipe)
    # Keeping the storages alive keeps their addresses from being used twice.
    saved: dict[int, torch.UntypedStorage] = {}
    largest = 0

    def apart(does: Callable[[Tensor], Tensor], part: Part, x: Tensor) -> Tensor:
        nonlocal largest
        inside: dict[int, torch.UntypedStorage] = {}
        with _saving(inside):
            found = does(x)
        kept = x.untyped_storage()
        saved[kept._cdata] = kept
        # The parameters of a part count as parameters.
        own = {p.untyped_storage()._cdata for layer in part for p in layer.parameters()}
        largest = max(largest, sum(storage.nbytes() for name, storage in inside.items() if name not in own))
        return found

    try:
        network = network.to("meta")
        with _saving(saved):
            output = (run_in_parts(network, apart) if recomputed else network)(latent.to("meta"))
    except (
        Exception
    ):  # it asks for a value, which no tensor on the meta device has; an error of its own shows at the first step
        return 0
    if not isinstance(output, Tensor):
        return 0
    activations = sum(storage.nbytes() for storage in saved.values()) + largest + output.numel() * 4
    parameters = sum(p.numel() for p in network.parameters()) * 4
    images = 12 * int(torch.Size(task.shape).numel()) * 4
    overhead = OVERHEAD_RECOMPUTED if recomputed else OVERHEAD
    return ALWAYS + int(overhead * activations) + 4 * parameters + images + 2 * latent.numel() * 4


def _saving(saved: dict[int, torch.UntypedStorage]) -> saved_tensors_hooks:
    """Note what autograd saves."""

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor

    return saved_tensors_hooks(pack, lambda tensor: tensor)


def fitting(way: Execution, task: Task, recipe: Recipe, device: torch.device) -> Execution:
    """The way to evaluate a network, with activations computed again where a step would not fit into memory otherwise.

    Args:
        way: As somebody asked.
        task: A, y and E.
        recipe: What is to be fitted.
        device: Where.

    Returns:
        That way, or the same with ``recomputed``.
    """
    free = devices.free_memory(device)
    if (
        way.compiled
        or way.graphed
        or memory_of_a_step(task, recipe) <= free
        or memory_of_a_step(task, recipe, recomputed=True) > free
    ):
        return way
    return replace(way, recomputed=True)


def check_memory(task: Task, recipe: Recipe, device: torch.device, execution: Execution = PLAIN) -> int:
    """Refuse a fit that would not fit into memory, before anything is allocated.

    Args:
        task: What one fit sees.
        recipe: What is to be fitted.
        device: Where.
        execution: How the network is evaluated.

    Returns:
        Bytes of a step; 0 where they cannot be told.

    Raises:
        TooLargeError: They exceed the device's free memory.
    """
    needed = memory_of_a_step(task, recipe, recomputed=execution.recomputed)
    free = devices.free_memory(device)
    if needed > free:
        raise TooLargeError(
            f"A step on {task.shape[-1]}x{task.shape[-2]} pixels needs about {needed / 2**30:.1f} GiB, but {device} has "
            f"{free / 2**30:.1f} GiB free: take --preset quick, --tile 512, a part of the image with --crop, or another "
            "--device."
        )
    return needed


def seconds_of_a_step(
    task: Task,
    recipe: Recipe,
    terms: Sequence[Term],
    device: torch.device,
    *,
    timed: int = 1,
    execution: Execution = PLAIN,
) -> float:
    """Seconds of one step of a fit, measured after one to warm up, or three on CUDA, where the second may record a graph.

    Args:
        task: A, y and E.
        recipe: What is to be fitted.
        terms: Regularisers; those that remember are copied first.
        device: Where.
        timed: Steps to take the median of.
        execution: How the network is evaluated.

    Returns:
        Seconds.

    Raises:
        FitError: The objective is not a finite scalar, with the name of the part at fault.
    """
    stamps: list[float] = []
    warm = 3 if device.type == "cuda" else 1
    _a_few_steps(task, recipe, terms, device, warm + timed, execution, lambda: stamps.append(time.perf_counter()))
    return statistics.median(after - before for before, after in pairwise(stamps[warm - 1 :]))


def _a_few_steps(
    task: Task,
    recipe: Recipe,
    terms: Sequence[Term],
    device: torch.device,
    steps: int,
    execution: Execution,
    done: Callable[[], None],
) -> None:
    """Take some steps of a fit, logged as rarely as in the whole of it, and say after each that it is done."""
    # The last step is always logged, for which a GPU waits.
    waits = device.type == "cuda"

    def watch(step: Step) -> None:
        if waits:
            torch.cuda.synchronize(device)
        if step.index < steps:
            done()

    hooks = FitHooks([watch])
    restore(
        task,
        preset=recipe,
        regularisers=copy.deepcopy(terms),
        steps=steps + waits,
        runs=1,
        device=device,
        execution=execution,
        rule=ALL_STEPS,
        tile=0,
        log_every=log_interval(recipe.steps),
        hooks=lambda _: hooks,
    )


SIDES = (2048, 1536, 1024, 768, 512, 384, 256)
"""Of tiles that are tried where an image does not fit into memory."""
SPARE = 0.8
"""Share of the free memory that a tile may take."""


def side_asked(text: str) -> int:
    """A side of tiles as a number.

    Args:
        text: "off", or a side in pixels.

    Returns:
        Pixels, 0 for the whole image at once.

    Raises:
        SettingsError: Neither of the two.
    """
    if text != "off" and (not text.isdecimal() or int(text) == 0):
        raise SettingsError(f"--tile is auto, off or a side in pixels, got '{text}'.")
    return 0 if text == "off" else int(text)


def side_of_tiles(
    asked: str,
    task: Task,
    preset: str | Preset | Recipe,
    device: torch.device,
    terms: Sequence[Term] = (),
    free: int | None = None,
) -> int | None:
    """The side of the tiles that somebody asked for.

    Args:
        asked: "off", a side in pixels, or "auto": the recipe's own; where a step would not fit into the free memory, not even
            with activations that are computed again, the largest that does as they are.
        task: To be restored.
        preset: What is fitted.
        device: Where.
        terms: Regularisers.
        free: Bytes that a fit may take, by default what is free there.

    Returns:
        The side, 0 for the whole image at once, or None for the recipe's own.

    Raises:
        SettingsError: Neither of the three.
    """
    if asked != "auto":
        return side_asked(asked)
    free = devices.free_memory(device) if free is None else free

    def needed(side: int | None, *, recomputed: bool = False) -> int:
        recipe, tiles = planned(task, preset, side, terms)
        return memory_of_a_step(of_one_fit(task, tiles), recipe, recomputed=recomputed)

    if needed(None, recomputed=True) <= free or not can_be_tiled(task):
        return None
    for side in SIDES:
        if side >= max(task.shape[-2:]):
            continue
        try:
            if needed(side) <= SPARE * free:
                return side
        except SettingsError:  # that it does not fit is what has to be said
            return None
    return None


TRIAL = 6
"""Steps of a trial."""


def picked(
    precision: str, compiled: str, graph: str, task: Task, recipe: Recipe, terms: Sequence[Term], device: torch.device
) -> tuple[Execution, list[Timing]]:
    """How the network is to be evaluated: as somebody asked, or by a short timed trial of what they left open.

    Args:
        precision: One of :data:`hybrid_dip.execution.precision.PRECISIONS`, or "auto".
        compiled: "on", "off" or "auto".
        graph: "on", "off" or "auto".
        task: A, y and E.
        recipe: What is to be fitted.
        terms: Regularisers.
        device: Where.

    Returns:
        The way, and the trials; none where only one way was open.

    Raises:
        SettingsError: Another word, or a CUDA graph where there can be none.
        FitError: The objective is not a finite scalar, with the name of the part at fault.
    """
    alone = evaluated_by_the_loop_alone(recipe, [*terms, *recipe.terms])
    ways = candidates(precision, compiled, graph, device, alone=alone)
    if len(ways) == 1 or memory_of_a_step(task, recipe) > devices.free_memory(device):  # nothing to try it with
        return ways[0], []

    def run(way: Execution, done: Callable[[], None]) -> None:
        gc.collect()  # a graph of the way before
        _a_few_steps(task, recipe, terms, device, TRIAL, way, done)

    if device.type == "cuda":  # its libraries are loaded at first use, which is no way's own
        run(PLAIN, lambda: None)

    return fastest(ways, recipe.steps * recipe.runs, run)


def estimate(
    task: Task, recipe: Recipe, device: torch.device, terms: Sequence[Term] = (), execution: Execution = PLAIN
) -> Estimate:
    """What a fit will cost; raises before anything is allocated where it cannot fit.

    Args:
        task: A, y and E.
        recipe: What is to be fitted.
        terms: Regularisers.
        device: Where.
        execution: How the network is evaluated.

    Returns:
        The estimate.

    Raises:
        TooLargeError: The estimate exceeds the device's free memory.
        FitError: The objective is not a finite scalar at the first step.
    """
    needed = check_memory(task, recipe, device, execution)
    return Estimate(count_parameters(task, recipe), needed, seconds_of_a_step(task, recipe, terms, device, execution=execution))
