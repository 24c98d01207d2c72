"""What a study will cost, before anything starts: time, from three timed steps of each arm; disk; memory."""

import shutil
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.execution import devices
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.restoring.estimate import count_parameters, duration
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.restoring.restore import log_interval
from hybrid_dip.restoring.trial import seconds_of_a_step
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.running.store import Store

TIMED_STEPS = 3
"""Steps that are timed of each arm on each task."""

PROCESS = 350 * 2**20
"""Bytes that a worker process has for itself beside its fit (benchmarks/studies.py memory measures them)."""

HISTORY_ROW, MANIFEST = 150, 4096
"""Bytes of a row of history.csv, and bytes of run.json."""


@dataclass(frozen=True)
class Sample:
    """What three steps of a run showed.

    Attributes:
        seconds_per_step: Median of three steps, after one to warm up.
        memory: Bytes that a step takes; 0 where this cannot be told beforehand.
        pixels: Pixels of the image, or of a tile.
        state: Bytes of a saved state.
        error: Why the steps could not be timed; "" where they could.
    """

    seconds_per_step: float
    memory: int
    pixels: int
    state: int
    error: str = ""


@dataclass(frozen=True)
class ArmForecast:
    """One arm on one task.

    Attributes:
        arm: Label of the arm.
        task: Label of the task.
        runs: Number of runs still to do.
        seconds_per_step: Seconds of a step on the largest image.
        seconds: Seconds of all those runs, one after the other.
        error: Why the steps could not be timed; "" where they could.
    """

    arm: str
    task: str
    runs: int
    seconds_per_step: float
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Forecast:
    """What a study will cost.

    Attributes:
        name: Name of the study.
        runs: Number of runs.
        finished: Number of those that are finished.
        workers: Number of runs at a time.
        threads: CPU threads of each run.
        device: Kind of device.
        seconds: Seconds of all runs to do, one after the other.
        wall_seconds: Seconds with all workers.
        disk_bytes: Bytes that will be written.
        disk_free: Bytes that are free where the study is.
        memory_bytes: Bytes of memory that all workers take together.
        memory_free: Bytes of memory that are free, on this machine or on one GPU.
        arms: The cost of each arm on each task.
    """

    name: str
    runs: int
    finished: int
    workers: int
    threads: int
    device: str
    seconds: float
    wall_seconds: float
    disk_bytes: int
    disk_free: int
    memory_bytes: int
    memory_free: int
    arms: tuple[ArmForecast, ...]

    @property
    def warnings(self) -> list[str]:
        """What will not fit, in sentences."""
        warnings = []
        if self.disk_bytes > self.disk_free:
            warnings.append(f"The disk has {_size(self.disk_free)} free, and {_size(self.disk_bytes)} will be written.")
        if self.memory_bytes > self.memory_free:
            warnings.append(f"{_size(self.memory_free)} of memory are free, which is too little: take fewer --workers.")
        warnings += [f"{arm.arm} on {arm.task} does not work: {arm.error}" for arm in self.arms if arm.error]
        return warnings

    def as_json(self) -> dict[str, Any]:
        """The forecast as plain data."""
        return {**asdict(self), "warnings": self.warnings}

    def sentences(self) -> str:
        """The forecast in words."""
        head = f"{self.name}: {self.runs} runs, {self.finished} of them finished."
        rows = [
            f"  {arm.runs:>5} x {arm.arm:<24} {arm.task:<28} "
            + (arm.error or f"{arm.seconds_per_step:.3g} s a step, {duration(arm.seconds)} in total")
            for arm in self.arms
        ]
        plural = "s" if self.workers > 1 else ""
        tail = (
            f"{duration(self.wall_seconds)} with {self.workers} worker{plural} of {self.threads} thread"
            f"{'s' if self.threads > 1 else ''} on {self.device} (from {TIMED_STEPS} timed steps of each arm on each task); "
            f"{_size(self.disk_bytes)} of disk ({_size(self.disk_free)} free); "
            f"{_size(self.memory_bytes)} of memory ({_size(self.memory_free)} free)."
        )
        return "\n".join([head, *rows, tail, *self.warnings])


def forecast(plan: Plan, store: Store, executor: Executor, workers: int) -> Forecast:
    """Forecast what the rest of a study will cost.

    Args:
        plan: The study.
        store: Its folder; what is finished costs nothing.
        executor: Where steps are timed, by all workers at a time, because workers slow each other down.
        workers: Number of runs at a time.

    Returns:
        The forecast.
    """
    there = store.finished_keys()
    left = [run for key, run in plan.unique.items() if key not in there]
    largest: dict[tuple[str, str], Run] = {}
    sizes = _pixels(left)
    for run in left:
        cell = (run.task, run.arm)
        if cell not in largest or sizes[run.task, run.image] > sizes[run.task, largest[cell].image]:
            largest[cell] = run
    timed = {cell: executor.submit(time_steps, run) for cell, run in largest.items()}
    samples = {cell: future.result() for cell, future in timed.items()}
    arms, longest = [], 0.0
    for (task, arm), sample in samples.items():
        own = [run for run in left if (run.task, run.arm) == (task, arm)]
        each = [
            run.fits
            * run.passes
            * min(
                run.seconds / run.tiles if run.seconds else float("inf"),
                run.steps * sample.seconds_per_step * run.pixels / max(1, sample.pixels),
            )
            for run in own
        ]
        longest = max([longest, *each])
        arms.append(ArmForecast(arm, task, len(own), sample.seconds_per_step, sum(each), sample.error))
    seconds = sum(arm.seconds for arm in arms)
    at_once = max(1, min(workers, len(left)))
    # A channel of a pixel is 4 bytes in output.npy, and at most 1 in restored.png.
    results = sum(5 * 3 * sizes[run.task, run.image] + MANIFEST + HISTORY_ROW * _rows(run) for run in left)
    states = sorted((sample.state for sample in samples.values()), reverse=True)
    peak = max((sample.memory for sample in samples.values()), default=0)
    device = devices.pick(plan.runs[0].device)
    threads = plan.runs[0].threads
    return Forecast(
        name=plan.study.name,
        runs=len(plan.unique),
        finished=len(plan.unique) - len(left),
        workers=workers,
        threads=threads,
        device=plan.runs[0].device,
        seconds=seconds,
        wall_seconds=max(longest, seconds / at_once),
        disk_bytes=results + (states[0] * at_once if states else 0),
        disk_free=shutil.disk_usage(_nearest_folder(store.path)).free,
        memory_bytes=at_once * (peak + (PROCESS if device.type == "cpu" else 0)),
        memory_free=devices.free_memory(device),
        arms=tuple(arms),
    )


def time_steps(run: Run) -> Sample:
    """Time a few steps of a run, as a worker would do them.

    Args:
        run: The run.

    Returns:
        The sample; an error is part of it, and is not raised.
    """
    torch.set_num_threads(run.threads)
    device = devices.pick(run.device)
    try:
        task = run.preparation.build(run.source).task
        recipe, terms, _ = run.method.build(task)
        task = of_one_fit(task, tiles_for(task, recipe))
        memory = memory_of_a_step(task, recipe)
        parameters = count_parameters(task, recipe)
        execution = run.method.entry.execution
        seconds = seconds_of_a_step(task, recipe, terms, device, timed=TIMED_STEPS, execution=execution)
    except Exception as error:  # a prior may fail in any way; the forecast says so
        return Sample(0.0, 0, run.pixels, 0, f"{type(error).__name__}: {' '.join(str(error).split())}")
    # Parameters and two moments, each three times: as they are, at the last logged step, and at the last good one.
    return Sample(seconds, memory, run.pixels, 9 * 4 * parameters)


def _pixels(runs: list[Run]) -> dict[tuple[str, str], int]:
    """Task and image -> pixels of the image."""
    pixels: dict[tuple[str, str], int] = {}
    for run in runs:
        if (run.task, run.image) not in pixels:
            shape = run.preparation.build(run.source).task.shape
            pixels[run.task, run.image] = shape[-1] * shape[-2]
    return pixels


def _rows(run: Run) -> int:
    return run.fits * run.steps // log_interval(run.steps)


def _nearest_folder(path: Path) -> Path:
    """The folder, or the lowest one above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
