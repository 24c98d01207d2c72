"""The commands ``hybrid-dip study plan|run|status|report|attribute``: arguments -> objects, nothing else."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hybrid_dip.cli import options
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import arguments
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.describe.sources import absolute
from hybrid_dip.study.running.executors import Ray
from hybrid_dip.study.running.forecast import forecast
from hybrid_dip.study.running.machine import device_kind, local_workers, worker_count
from hybrid_dip.study.running.status import planned_with, save_plan, status
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.terminal import first_failure, print_end, run_with_board

app = typer.Typer(help="Compare arms on images, tasks and seeds; stop and start at will.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The study file, TOML.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="The study's folder; by default the one the file is in.")]
Runs = Annotated[str | None, typer.Option(help="Which runs: those on cpu, cuda or mps; by default those of the last run.")]
Images = Annotated[str | None, typer.Option(help="A file, folder, glob or skimage:NAME instead of the study's own images.")]


@app.command()
def plan(
    file: File,
    out: Out = None,
    images: Images = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Check FILE, and say how many runs it makes and what they will cost; nothing is started and nothing is written."""
    made = _planned(file, images, device, threads)
    count = worker_count(workers, made)
    with local_workers(count, made) as executor:
        found = forecast(made, Store(out or file.parent), executor, count)
    print(json.dumps(found.as_json(), indent=2) if as_json else found.sentences())


@app.command()
def run(
    file: File,
    out: Out = None,
    images: Images = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    executor: Annotated[str, typer.Option(help="local, ray, or ray:ADDRESS, such as ray:auto or ray:head:6379.")] = "local",
    share: Annotated[
        float | None, typer.Option("--gpus", help="Ray: GPUs of each run, may be a fraction; default 1 on CUDA.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do those runs again that ended with an error.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Do all runs of FILE that are not finished. Interrupt it, kill it, repeat it, run it several times at once."""
    kind, _, address = executor.partition(":")
    if kind not in ("local", "ray"):
        raise SettingsError(f"--executor is local, ray or ray:ADDRESS, got '{executor}'.")
    if kind == "ray" and device == "auto":
        device = "cuda" if share else "cpu"  # what this machine has says nothing about the cluster
    made = _planned(file, images, device, threads, here=kind == "local")
    store = Store(out or file.parent)
    save_plan(made, store, None if images is None else absolute(images))
    if kind == "local":
        count = min(worker_count(workers, made), len(made.unique))
        pool = local_workers(count, made)
    else:
        default = 1.0 if made.runs[0].device == "cuda" else 0.0
        pool = Ray(address, cpus=made.runs[0].threads, gpus=default if share is None else share)
        count = 0
    with pool as using:
        found = run_with_board(made, store, using, count, retry_failed=retry_failed, quiet=quiet)
    from hybrid_dip.study.reporting.results import write_results  # with pandas, which the other commands do not wait for

    write_results(made, store)
    print_end(found, made, store, quiet)
    failed = first_failure(made, store, found)
    if failed is not None and not found.done:  # a script must not go on from nothing
        raise failed


@app.command("status")
def status_(
    place: Annotated[Path, typer.Argument(help="The study's folder, or its file.")],
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how many runs of the study in PLACE are done, failed, going on (and where), and left."""
    found = status(Store(out or (place.parent if place.is_file() else place)))
    print(json.dumps(found.as_json(), indent=2) if as_json else found.sentences())


@app.command()
def report(
    file: File,
    out: Out = None,
    images: Images = None,
    threads: options.Threads = None,
    device: Runs = None,
    as_json: options.AsJson = False,
) -> None:
    """Write report.html of what is finished, to look at and to hand on, with results.csv, report.md and a LaTeX table."""
    from hybrid_dip.study.reporting.report import report_study

    store = Store(out or file.parent)
    made = _finished(file, store, images, threads, device)
    found = report_study(made, store)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['finished']} of {found['runs']} runs, {found['failed']} failed.")
    for note in found["notes"]:
        print(note)
    print(f"Look at {store.path / 'report.html'}; the table is {store.path / 'results.csv'}.")


@app.command()
def attribute(
    file: File,
    out: Out = None,
    images: Images = None,
    threads: options.Threads = None,
    device: Runs = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how many dB each prior of FILE's [attribution] brought: Shapley values with 95 % intervals over images."""
    from hybrid_dip.study.reporting.attribution import attribute_study, sentences
    from hybrid_dip.study.reporting.results import write_results

    store = Store(out or file.parent)
    made = _finished(file, store, images, threads, device)
    found = attribute_study(made, store, write_results(made, store))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(sentences(found))
    print(f"Look at {found['files'][-1]}; the values of each image are in {found['files'][0]}.")


@app.command()
def impedance(
    file: File,
    out: Out = None,
    images: Images = None,
    threads: options.Threads = None,
    device: Runs = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how much faster each arm of FILE fits images than shuffled pixels; its tasks are of kind "impedance"."""
    from hybrid_dip.study.ready_made.impedance import report_impedance, sentences

    store = Store(out or file.parent)
    found = report_impedance(_finished(file, store, images, threads, device), store)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(sentences(found))
    print(f"Look at {found['files'][-1]}.")


def _finished(file: Path, store: Store, images: str | None, threads: int | None, device: str | None) -> Plan:
    """The study of a file, of whose runs some are finished in a folder."""
    given = {"images": images, "threads": threads, "device": None if device is None else device_kind(device, here=False)}
    asked = {**planned_with(store), **{name: value for name, value in given.items() if value is not None}}
    made = plan_study(read_study(file), **asked)
    there = store.finished()
    if not there:
        raise SettingsError(f"{store.path} holds no finished runs; start with: hybrid-dip study run {file} -o {store.path}")
    if not there & set(made.unique):
        other = (store.record(min(there)) or {}).get("config", {})
        mine = made.runs[0].config
        differing = ", ".join(sorted(name for name in {**mine, **other} if mine.get(name) != other.get(name)))
        raise SettingsError(f"None of the runs in {store.path} is of this study; they differ in, for instance: {differing}.")
    return made


def _planned(file: Path, images: str | None, device: str, threads: int | None, *, here: bool = True) -> Plan:
    if threads is not None:
        arguments.at_least_one(threads=threads)
    return plan_study(read_study(file), images=images, device=device_kind(device, here=here), threads=threads)
