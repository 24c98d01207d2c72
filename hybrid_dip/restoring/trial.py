"""A few steps of a fit on trial: how long one takes, and which way to evaluate the network is the fastest."""

import copy
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from hybrid_dip.contracts import Step, Task
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.execution.timing import Timing, candidates, fastest
from hybrid_dip.recipes.recipe import ALL_STEPS, Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.restore import log_interval, only_the_loop_evaluates, restore


def seconds_of_a_step(
    task: Task,
    recipe: Recipe,
    terms: Sequence[Term],
    device: torch.device,
    *,
    timed: int = 1,
    execution: Execution = PLAIN,
) -> float:
    """Measure the seconds of one step of a fit.

    One step warms up, or three on CUDA, where the second may record a graph.

    Args:
        task: The task that one fit sees.
        recipe: What is to be fitted.
        terms: Regularisers. They are copied, so that they remember nothing of this.
        device: Where it is to be fitted.
        timed: Number of steps whose median is taken.
        execution: How the network is evaluated.

    Returns:
        Seconds.

    Raises:
        FitError: The objective is not a finite scalar; the message names the part at fault.
    """
    stamps: list[float] = []
    warm = 3 if device.type == "cuda" else 1
    _take_steps(task, recipe, terms, device, warm + timed, execution, lambda: stamps.append(time.perf_counter()))
    return statistics.median(after - before for before, after in pairwise(stamps[warm - 1 :]))


def _take_steps(
    task: Task,
    recipe: Recipe,
    terms: Sequence[Term],
    device: torch.device,
    steps: int,
    execution: Execution,
    done: Callable[[], None],
) -> None:
    """Take some steps of a fit, logged as rarely as in the whole fit, and call ``done`` after each."""
    taken: list[int] = []

    def watch(step: Step) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(step.index)
        done()

    # The last step is always logged, which costs more, and a fit that ends is judged: this one is halted before.
    hooks = FitHooks([watch], halt=lambda: len(taken) == steps)
    restore(
        task,
        preset=recipe,
        regularisers=copy.deepcopy(terms),
        steps=steps + 1,
        runs=1,
        device=device,
        execution=execution,
        rule=ALL_STEPS,
        tile=0,
        log_every=recipe.log_every or log_interval(recipe.steps),
        progress=False,
        hooks=lambda _: hooks,
    )


TRIAL = 6
"""Steps in which one way to evaluate the network is tried."""


def choose_execution(
    precision: str, compiled: str, graph: str, task: Task, recipe: Recipe, terms: Sequence[Term], device: torch.device
) -> tuple[Execution, list[Timing]]:
    """Choose how the network is evaluated, by a short timed trial of what is left open.

    Args:
        precision: One of :data:`hybrid_dip.execution.precision.PRECISIONS`, or "auto".
        compiled: "on", "off" or "auto".
        graph: "on", "off" or "auto".
        task: The task that one fit sees.
        recipe: What is to be fitted.
        terms: Regularisers.
        device: Where it is to be fitted.

    Returns:
        The way that was chosen, and the times of all that were tried; no times where only one way was possible.

    Raises:
        SettingsError: An option is another word, or there can be no CUDA graph.
        FitError: The objective is not a finite scalar; the message names the part at fault.
    """
    alone = only_the_loop_evaluates(recipe, [*terms, *recipe.terms])
    ways = candidates(precision, compiled, graph, device, alone=alone)
    if len(ways) == 1 or memory_of_a_step(task, recipe) > devices.free_memory(device):  # there is no memory for a trial
        return ways[0], []

    def run(way: Execution, done: Callable[[], None]) -> None:
        gc.collect()  # frees the graph of the way before
        _take_steps(task, recipe, terms, device, TRIAL, way, done)

    if device.type == "cuda":  # its libraries are loaded at first use; no way is charged for that
        run(PLAIN, lambda: None)

    return fastest(ways, recipe.steps * recipe.runs, run)
