"""A study that a command writes and runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_dip.images.atomic import write_text
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import as_study, as_toml
from hybrid_dip.study.running.machine import device_kind, local_workers, worker_count
from hybrid_dip.study.running.run import Tally
from hybrid_dip.study.running.status import save_plan
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.terminal import print_end, run_with_board


def plan_content(content: Mapping[str, Any], out: Path, *, device: str) -> Plan:
    """The study that a command was asked for; nothing is written yet.

    Args:
        content: What the study file will hold.
        out: The study's folder.
        device: As on the command line.

    Returns:
        The plan.

    Raises:
        SettingsError: Something in it cannot work.
    """
    return plan_study(as_study(dict(content), out / f"{content['name']}.toml"), device=device_kind(device, here=True))


def run_content(plan: Plan, content: Mapping[str, Any], *, workers: int | None, quiet: bool) -> tuple[Store, Tally]:
    """Write the study that a command was asked for, and run it.

    Args:
        plan: What :func:`plan_content` gave.
        content: What the study file will hold.
        workers: Processes at a time; None for as many as there are cores or GPUs for.
        quiet: Whether to show nothing.

    Returns:
        Its folder, and what was done. Runs that failed are in it; the same call tries them again.

    Raises:
        SettingsError: No such number of workers.
        Interrupted: The user pressed Ctrl-C; the same call goes on.
        StorageError: The folder cannot be written.
    """
    store = Store(plan.study.path.parent)
    with store.writing():
        store.path.mkdir(parents=True, exist_ok=True)
        write_text(plan.study.path, as_toml(content))
    save_plan(plan, store, None)
    count = min(worker_count(workers, plan), len(plan.unique))
    with local_workers(count, plan) as pool:
        tally = run_with_board(plan, store, pool, count, retry_failed=True, quiet=quiet)
    if tally.reason == "interrupted":
        print_end(tally, plan, store, quiet)
    return store, tally
