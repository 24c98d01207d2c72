"""What a study runs on: a kind of device, and as many workers as keep this machine busy."""

import os
from concurrent.futures import Executor

import torch

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.execution import devices
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.running.executors import Workers

DEVICES = ("cpu", "cuda", "mps")


def device_kind(name: str, *, here: bool) -> str:
    """The kind of a device; which one of several a run is on is no part of its description.

    Args:
        name: As on the command line.
        here: Whether it has to be a device of this machine.

    Returns:
        "cpu", "cuda" or "mps".

    Raises:
        SettingsError: Another name, or one device of several.
    """
    if ":" in name:
        raise SettingsError(f"A study uses all GPUs that CUDA_VISIBLE_DEVICES names: take --device cuda, not {name}.")
    if here or name == "auto":
        return devices.pick(name).type
    if name not in DEVICES:
        raise SettingsError(f"Unknown device '{name}': {nearest(name, list(DEVICES))}.")
    return name


def gpu_names(device: str) -> list[str]:
    """The GPUs that workers share.

    Args:
        device: Kind of device of the runs.

    Returns:
        Their names in CUDA_VISIBLE_DEVICES; none where runs are not on CUDA.
    """
    if device != "cuda":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def core_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(asked: int | None, plan: Plan) -> int:
    """How many processes work at a time.

    Args:
        asked: The number that the user asked for, or None.
        plan: The study, for its device and threads.

    Returns:
        That number; or one for each GPU; or as many as keep all cores busy with the threads that each has.

    Raises:
        SettingsError: Fewer than one.
    """
    if asked is not None:
        check_at_least_one(workers=asked)
        return asked
    run = plan.runs[0]
    return max(1, len(gpu_names(run.device)) if run.device != "cpu" else core_count() // run.threads)


def local_workers(count: int, plan: Plan) -> Executor:
    """Processes of this machine, for a with-statement.

    Args:
        count: Number of processes.
        plan: The study, for its device.

    Returns:
        Where its runs are submitted.
    """
    return Workers(count, gpu_names(plan.runs[0].device))
