"""The commands ``hybrid-dip study plan|run|status|report``: arguments -> objects, nothing else."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hybrid_dip import arguments, devices
from hybrid_dip.errors import Interrupted, SettingsError, nearest
from hybrid_dip.session import interruptible
from hybrid_dip.study.board import Board
from hybrid_dip.study.executors import Ray, Workers, core_count, gpus
from hybrid_dip.study.forecast import forecast
from hybrid_dip.study.plan import Plan, plan_study
from hybrid_dip.study.run import Tally, run_study
from hybrid_dip.study.settings import read_study
from hybrid_dip.study.sources import absolute
from hybrid_dip.study.status import options, save_plan, status
from hybrid_dip.study.store import Store

app = typer.Typer(help="Compare arms on images, tasks and seeds; stop and start at will.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The study file, TOML.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="The study's folder; by default the one the file is in.")]
Images = Annotated[str | None, typer.Option(help="A file, folder, glob or skimage:NAME instead of the study's own images.")]
Count = Annotated[int | None, typer.Option(help="Processes at a time; by default all cores, or one for each GPU.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of each, instead of the study's (1).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
DEVICES = ("cpu", "cuda", "mps")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def plan(
    file: File,
    out: Out = None,
    images: Images = None,
    workers: Count = None,
    threads: Threads = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Check FILE, and say how many runs it makes and what they will cost; nothing is started and nothing is written."""
    made = _planned(file, images, device, threads)
    count = _workers(workers, made)
    with _local(count, made) as executor:
        found = forecast(made, Store(out or file.parent), executor, count)
    print(json.dumps(found.as_json(), indent=2) if as_json else found.sentences())


@app.command()
def run(
    file: File,
    out: Out = None,
    images: Images = None,
    workers: Count = None,
    threads: Threads = None,
    device: Device = "auto",
    executor: Annotated[str, typer.Option(help="local, ray, or ray:ADDRESS, such as ray:auto or ray:head:6379.")] = "local",
    share: Annotated[
        float | None, typer.Option("--gpus", help="Ray: GPUs of each run, may be a fraction; default 1 on CUDA.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do those runs again that ended with an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no messages.")] = False,
) -> None:
    """Do all runs of FILE that are not finished. Interrupt it, kill it, repeat it, run it on several machines at once."""
    kind, _, address = executor.partition(":")
    if kind not in ("local", "ray"):
        raise SettingsError(f"--executor is local, ray or ray:ADDRESS, got '{executor}'.")
    if kind == "ray" and device == "auto":
        device = "cuda" if share else "cpu"  # what this machine has says nothing about the cluster
    made = _planned(file, images, device, threads, here=kind == "local")
    store = Store(out or file.parent)
    save_plan(made, store, None if images is None else absolute(images))
    if kind == "local":
        count = min(_workers(workers, made), len(made.unique))
        pool = _local(count, made)
    else:
        default = 1.0 if made.runs[0].device == "cuda" else 0.0
        pool = _ray(address, made.runs[0].threads, default if share is None else share)
        count = 0
    with pool as using, interruptible() as pressed:
        board = None if quiet else Board(made, store, count or core_count())
        try:
            found = run_study(made, store, using, at_once=count or None, retry_failed=retry_failed, halt=pressed, watcher=board)
        finally:
            if board is not None:
                board.close()
    from hybrid_dip.study.report import write_results  # with pandas, which the other commands do not wait for

    write_results(made, store)
    _say_how_it_ended(found, made, store, quiet)


@app.command("status")
def status_(
    place: Annotated[Path, typer.Argument(help="The study's folder, or its file.")],
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Say how many runs of the study in PLACE are done, failed, going on (and where), and left."""
    found = status(Store(out or (place.parent if place.is_file() else place)))
    print(json.dumps(found.as_json(), indent=2) if as_json else found.sentences())


@app.command()
def report(
    file: File,
    out: Out = None,
    images: Images = None,
    threads: Threads = None,
    device: Annotated[
        str | None, typer.Option(help="Which runs: those on cpu, cuda or mps; by default those of the last run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write results.csv and report.md of what is finished: means with 95 % intervals over images, and pictures."""
    from hybrid_dip.study.report import report_study

    store = Store(out or file.parent)
    given = {"images": images, "threads": threads, "device": None if device is None else _device(device, here=False)}
    asked = {**options(store), **{name: value for name, value in given.items() if value is not None}}
    made = plan_study(read_study(file), **asked)
    there = store.finished()
    if not there:
        raise SettingsError(f"{store.path} holds no finished runs; start with: hybrid-dip study run {file} -o {store.path}")
    if not there & set(made.unique):
        other = (store.record(min(there)) or {}).get("config", {})
        mine = made.runs[0].config
        differing = ", ".join(sorted(name for name in {**mine, **other} if mine.get(name) != other.get(name)))
        raise SettingsError(f"None of the runs in {store.path} is of this study; they differ in, for instance: {differing}.")
    found = report_study(made, store)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['finished']} of {found['runs']} runs, {found['failed']} failed.")
    print(f"Look at {store.path / 'report.md'} and {store.path / 'results.csv'}.")


def _planned(file: Path, images: str | None, device: str, threads: int | None, *, here: bool = True) -> Plan:
    if threads is not None:
        arguments.at_least_one(threads=threads)
    return plan_study(read_study(file), images=images, device=_device(device, here=here), threads=threads)


def _device(name: str, *, here: bool) -> str:
    """A kind of device; which one of them a run is on is not part of it."""
    if ":" in name:
        raise SettingsError(f"A study uses all GPUs that CUDA_VISIBLE_DEVICES names: take --device cuda, not {name}.")
    if here or name == "auto":
        return devices.pick(name).type
    if name not in DEVICES:
        raise SettingsError(f"Unknown device '{name}': {nearest(name, list(DEVICES))}.")
    return name


def _workers(asked: int | None, plan: Plan) -> int:
    """As many as were asked for, else one a GPU, or as many as keep all cores busy with the threads that each has."""
    if asked is not None:
        arguments.at_least_one(workers=asked)
        return asked
    run = plan.runs[0]
    return max(1, len(gpus(run.device)) if run.device != "cpu" else core_count() // run.threads)


@contextmanager
def _local(count: int, plan: Plan) -> Iterator[Executor]:
    pool = Workers(count, gpus(plan.runs[0].device))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ray(address: str, cpus: int, gpus: float) -> Iterator[Executor]:
    pool = Ray(address, cpus=cpus, gpus=gpus)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _say_how_it_ended(found: Tally, plan: Plan, store: Store, quiet: bool) -> None:
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
