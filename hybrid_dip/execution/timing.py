"""Which way to evaluate a network is the fastest on this machine: a few timed steps of each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.execution.precision import NOT_ALONE, PRECISIONS, Execution

MARGIN = 0.95
"""Another way has to take at most this share of the plain one's time, since a short trial is not exact."""
COMPILING = 30.0
"""Seconds that compiling takes at least. It is not tried where the whole fit takes less."""


@dataclass(frozen=True)
class Timing:
    """What a few steps showed of one way to evaluate a network.

    Attributes:
        execution: The way.
        first: Seconds until the first step was done, compilation included.
        step: Seconds of a later step, the median of a few.
        error: Why this way cannot be taken here, or "".
    """

    execution: Execution
    first: float
    step: float
    error: str = ""

    def whole(self, steps: int) -> float:
        """Seconds of a fit of this many steps; infinite where this way cannot be taken."""
        return float("inf") if self.error else self.first + (steps - 1) * self.step


def candidates(precision: str, compiled: str, graph: str, device: torch.device, *, alone: bool = True) -> list[Execution]:
    """The ways that a user leaves open, the plain one first, compiled ones last.

    Args:
        precision: One of :data:`PRECISIONS`, or "auto".
        compiled: "on", "off" or "auto".
        graph: "on", "off" or "auto".
        device: Device of the fit.
        alone: Whether only the loop evaluates the network; else a CUDA graph cannot be used.

    Returns:
        One way or more.

    Raises:
        SettingsError: Another word, or a CUDA graph where none can be used.
    """
    for option, word in {"--compile": compiled, "--graph": graph}.items():
        if word not in ("on", "off", "auto"):
            raise SettingsError(f"{option} is on, off or auto, got '{word}'.")
    Execution(graphed=graph == "on").check(device)
    if graph == "on" and not alone:
        raise SettingsError(NOT_ALONE)
    # Only CUDA has TF32 and graphs.
    usable = [name for name in PRECISIONS if name != "tf32" or device.type == "cuda"]
    precisions: Sequence[Any] = usable if precision == "auto" else [precision]
    switches = {"on": [True], "off": [False], "auto": [False, True]}
    graphs = switches[graph] if device.type == "cuda" and alone else [False]
    return [
        Execution(name, compiled=compile, graphed=record)
        for compile in switches[compiled]
        for record in graphs
        for name in precisions
    ]


def fastest(
    ways: Sequence[Execution], steps: int, run: Callable[[Execution, Callable[[], None]], None]
) -> tuple[Execution, list[Timing]]:
    """Time a few steps of each way, and take the one whose whole fit would be over first.

    Compiling takes long. Where the choice is open, only the best of the other ways is tried compiled as well, and only if the
    whole fit takes at least :data:`COMPILING`.

    Args:
        ways: From :func:`candidates`; the first one is the plain one, which another has to beat by :data:`MARGIN`.
        steps: Steps of the whole fit.
        run: (way, callback) -> takes a few steps, and calls back after each.

    Returns:
        The way, and the timing of each that was tried.
    """
    uncompiled = [way for way in ways if not way.compiled]
    timings = [_time(way, run) for way in uncompiled or ways]
    best = _shortest(timings, steps)
    compiled = replace(best.execution, compiled=True)
    if uncompiled and compiled in ways and best.whole(steps) >= COMPILING:
        timings.append(_time(compiled, run))
        best = _shortest(timings, steps)
    plain = timings[0]
    if not plain.error and best.whole(steps) > MARGIN * plain.whole(steps):
        best = plain
    return best.execution, timings


def _shortest(timings: Sequence[Timing], steps: int) -> Timing:
    return min(timings, key=lambda timing: timing.whole(steps))


def _time(way: Execution, run: Callable[[Execution, Callable[[], None]], None]) -> Timing:
    stamps = [time.perf_counter()]
    try:
        run(way, lambda: stamps.append(time.perf_counter()))
    except SettingsError:
        raise
    except Exception as error:  # a compiler may be missing, a device may not multiply in half precision
        return Timing(way, 0.0, 0.0, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    gaps = sorted(after - before for before, after in pairwise(stamps[1:]))
    return Timing(way, stamps[1] - stamps[0], gaps[len(gaps) // 2])
