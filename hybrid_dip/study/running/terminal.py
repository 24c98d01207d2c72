"""A study carried out in front of a person: workers, a board, and how it ended in a sentence."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_dip.errors import Interrupted, SettingsError, interruptible, nearest
from hybrid_dip.execution import devices
from hybrid_dip.images.atomic import write_text
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import as_study, as_toml
from hybrid_dip.study.running.board import Board
from hybrid_dip.study.running.executors import Ray, Workers, core_count, gpus
from hybrid_dip.study.running.run import Tally, run_study
from hybrid_dip.study.running.status import save_plan
from hybrid_dip.study.running.store import Store

DEVICES = ("cpu", "cuda", "mps")


def study_of(content: Mapping[str, Any], out: Path, *, device: str) -> Plan:
    """The study that a command was asked for; nothing is written yet.

    Args:
        content: Of the study file.
        out: The study's folder.
        device: As on the command line.

    Returns:
        The plan.

    Raises:
        SettingsError: Something in it cannot work.
    """
    return plan_study(as_study(dict(content), out / f"{content['name']}.toml"), device=device_kind(device, here=True))


def whole_study(made: Plan, content: Mapping[str, Any], *, workers: int | None, quiet: bool) -> tuple[Store, Tally]:
    """Write the study that a command was asked for, and carry it out.

    Args:
        made: Of :func:`study_of`.
        content: Of the study file.
        workers: Processes at a time; None for as many as there are cores or GPUs for.
        quiet: No board.

    Returns:
        Its folder, and what was done; runs that failed are in it, and are tried again by the same call.

    Raises:
        SettingsError: No such number of workers.
        Interrupted: Somebody pressed Ctrl-C; the same call goes on.
        StorageError: The folder cannot be written.
    """
    store = Store(made.study.path.parent)
    with store.writing():
        store.path.mkdir(parents=True, exist_ok=True)
        write_text(made.study.path, as_toml(content))
    save_plan(made, store, None)
    count = min(worker_count(workers, made), len(made.unique))
    with local_workers(count, made) as using:
        done = carried_out(made, store, using, count, True, quiet)
    if done.reason == "interrupted":
        say_how_it_ended(done, made, store, quiet)
    return store, done


def failure(plan: Plan, store: Store, tally: Tally) -> SettingsError | None:
    """What went wrong in a study.

    Args:
        plan: The study.
        store: Its folder.
        tally: Of :func:`whole_study`.

    Returns:
        The first fit that failed, in a sentence, or None where all went well.
    """
    failed = next((row for row in store.records(plan.unique).values() if row["error"]), None)
    if failed is None:
        return None
    return SettingsError(
        f"{tally.failed} of {tally.total} fits failed; the first, of {failed['image']} by {failed['arm']}: {failed['error']}"
    )


def device_kind(name: str, *, here: bool) -> str:
    """A kind of device; which one of them a run is on is not part of it.

    Args:
        name: As on the command line.
        here: It has to be of this machine.

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


def worker_count(asked: int | None, plan: Plan) -> int:
    """As many as were asked for, else one a GPU, or as many as keep all cores busy with the threads that each has.

    Args:
        asked: By the user, or None.
        plan: The study, for its device and threads.

    Returns:
        Processes at a time.

    Raises:
        SettingsError: Fewer than one.
    """
    if asked is not None:
        check_at_least_one(workers=asked)
        return asked
    run = plan.runs[0]
    return max(1, len(gpus(run.device)) if run.device != "cpu" else core_count() // run.threads)


@contextmanager
def local_workers(count: int, plan: Plan) -> Iterator[Executor]:
    """Processes of this machine.

    Args:
        count: How many.
        plan: The study, for its device.

    Yields:
        Where runs are submitted.
    """
    pool = Workers(count, gpus(plan.runs[0].device))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def ray_workers(address: str, cpus: int, gpus: float) -> Iterator[Executor]:
    """A Ray cluster.

    Args:
        address: As after ``ray:``.
        cpus: That each run takes.
        gpus: That each run takes, may be a fraction.

    Yields:
        Where runs are submitted.
    """
    pool = Ray(address, cpus=cpus, gpus=gpus)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def carried_out(made: Plan, store: Store, using: Executor, count: int, retry_failed: bool, quiet: bool) -> Tally:
    """Do the runs, with a board for a person.

    Args:
        made: The study.
        store: Its folder.
        using: Where runs are submitted.
        count: At a time; 0 where that is the executor's business.
        retry_failed: Do those again that ended with an error.
        quiet: No board.

    Returns:
        What was done.
    """
    with interruptible() as pressed:
        board = None if quiet else Board(made, store, count or core_count())
        try:
            return run_study(made, store, using, at_once=count or None, retry_failed=retry_failed, halt=pressed, watcher=board)
        finally:
            if board is not None:
                board.close()


def say_how_it_ended(found: Tally, plan: Plan, store: Store, quiet: bool) -> None:
    """Print how many runs are done and where to look.

    Args:
        found: What was done.
        plan: The study.
        store: Its folder.
        quiet: Print nothing.

    Raises:
        Interrupted: Somebody pressed Ctrl-C.
    """
    if found.reason == "interrupted":
        raise Interrupted(f"Interrupted with {found.left} of {found.total} runs left; repeat the command to go on.")
    if quiet:
        return
    parts = [f"{found.done} of {found.total} runs done"]
    if found.failed:
        parts.append(f"{found.failed} failed (see results.csv; --retry-failed does them again)")
    if found.reason == "budget":
        parts.append(f"the budget of {plan.study.budget.hours:g} hours is used up; repeat the command to go on")
    print("; ".join(parts) + ".")
    print(f"Look at {store.path / 'results.csv'}, or make a report: hybrid-dip study report {plan.study.path} -o {store.path}")
