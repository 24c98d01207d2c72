"""The commands ``hybrid-dip study plan|run|status|report|attribute``: arguments -> objects, nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hybrid_dip.cli.assemble import assemble
from hybrid_dip.cli.options import WHERE, AsJson, Quiet
from hybrid_dip.cli.where import Machine
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.describe.sources import absolute_path
from hybrid_dip.study.running.executors import Ray
from hybrid_dip.study.running.forecast import forecast
from hybrid_dip.study.running.machine import device_kind, local_workers, worker_count
from hybrid_dip.study.running.status import last_options, save_plan, status
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.terminal import first_failure, print_end, run_with_board

File = Annotated[Path, Parameter(help="The study file, TOML.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a study is, and the images that it is of."""

    out: Annotated[Path | None, Parameter(("--out", "-o"))] = None
    """The study's folder; by default the one the file is in."""
    images: str | None = None
    """A file, folder, glob or skimage:NAME instead of the study's own images."""

    def store(self, file: Path) -> Store:
        """The folder of the study in a file."""
        return Store(self.out or file.parent)


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which of a study's runs are looked at."""

    threads: int | None = None
    """Runs with this many CPU threads; by default those of the last run."""
    device: str | None = None
    """Runs on cpu, cuda or mps; by default those of the last run."""


def plan(file: File, /, *, place: Place = Place(), machine: Machine = Machine(), as_json: AsJson = False) -> None:
    """Check FILE, and say how many runs it makes and what they will cost; nothing is started and nothing is written."""
    made = _plan(file, place, machine, device_kind(machine.device, here=True))
    count = worker_count(machine.workers, made)
    with local_workers(count, made) as executor:
        cost = forecast(made, place.store(file), executor, count)
    print(json.dumps(cost.as_json(), indent=2) if as_json else cost.sentences())


def run(
    file: File,
    /,
    *,
    place: Place = Place(),
    machine: Machine = Machine(),
    executor: Annotated[str, Parameter(help="local, ray, or ray:ADDRESS, such as ray:auto or ray:head:6379.")] = "local",
    gpus: Annotated[float | None, Parameter(help="Ray: GPUs of each run, may be a fraction; default 1 on CUDA.")] = None,
    retry_failed: Annotated[bool, Parameter(help="Do those runs again that ended with an error.")] = False,
    quiet: Quiet = False,
) -> None:
    """Do all runs of FILE that are not finished. Interrupt it, kill it, repeat it, run it several times at once."""
    kind, _, address = executor.partition(":")
    if kind not in ("local", "ray"):
        raise SettingsError(f"--executor is local, ray or ray:ADDRESS, got '{executor}'.")
    device = machine.device
    if kind == "ray" and device == "auto":
        device = "cuda" if gpus else "cpu"  # what this machine has says nothing about the cluster
    made = _plan(file, place, machine, device_kind(device, here=kind == "local"))
    store = place.store(file)
    save_plan(made, store, None if place.images is None else absolute_path(place.images))
    if kind == "local":
        count = min(worker_count(machine.workers, made), len(made.unique))
        pool = local_workers(count, made)
    else:
        default = 1.0 if made.runs[0].device == "cuda" else 0.0
        pool = Ray(address, cpus=made.runs[0].threads, gpus=default if gpus is None else gpus)
        count = 0
    with pool as using:
        tally = run_with_board(made, store, using, count, retry_failed=retry_failed, quiet=quiet)
    from hybrid_dip.study.reporting.results import write_results  # with pandas, which the other commands do not wait for

    write_results(made, store)
    print_end(tally, made, store, quiet)
    failed = first_failure(made, store, tally)
    if failed is not None and not tally.done:  # a script must not go on from nothing
        raise failed


def status_(
    place: Annotated[Path, Parameter(help="The study's folder, or its file.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(("--out", "-o"), help="The study's folder, where PLACE is its file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many runs of the study in PLACE are done, failed, going on (and where), and left."""
    state = status(Store(out or (place.parent if place.is_file() else place)))
    print(json.dumps(state.as_json(), indent=2) if as_json else state.sentences())


def report(file: File, /, *, place: Place = Place(), runs: Runs = Runs(), as_json: AsJson = False) -> None:
    """Write report.html of what is finished, to look at and to hand on, with results.csv, report.md and a LaTeX table."""
    from hybrid_dip.study.reporting.report import report_study

    store = place.store(file)
    summary = report_study(_finished(file, place, runs), store)
    counts = f"{summary['finished']} of {summary['runs']} runs, {summary['failed']} failed."
    places = f"Look at {store.path / 'report.html'}; the table is {store.path / 'results.csv'}."
    print(json.dumps(summary, indent=2) if as_json else "\n".join([counts, *summary["notes"], places]))


def attribute(file: File, /, *, place: Place = Place(), runs: Runs = Runs(), as_json: AsJson = False) -> None:
    """Say how many dB each prior of FILE's [attribution] brought: Shapley values with 95 % intervals over images."""
    from hybrid_dip.study.reporting.attribution import attribute_study, sentences
    from hybrid_dip.study.reporting.results import write_results

    store, made = place.store(file), _finished(file, place, runs)
    summary = attribute_study(made, store, write_results(made, store))
    places = f"Look at {summary['files'][-1]}; the values of each image are in {summary['files'][0]}."
    print(json.dumps(summary, indent=2) if as_json else f"{sentences(summary)}\n{places}")


def impedance(file: File, /, *, place: Place = Place(), runs: Runs = Runs(), as_json: AsJson = False) -> None:
    """Say how much faster each arm of FILE fits images than shuffled pixels; its tasks are of kind "impedance"."""
    from hybrid_dip.study.ready_made.impedance import report_impedance, sentences

    summary = report_impedance(_finished(file, place, runs), place.store(file))
    print(json.dumps(summary, indent=2) if as_json else f"{sentences(summary)}\nLook at {summary['files'][-1]}.")


def _plan(file: Path, place: Place, machine: Machine, device: str) -> Plan:
    if machine.threads is not None:
        check_at_least_one(threads=machine.threads)
    return plan_study(read_study(file), images=place.images, device=device, threads=machine.threads)


def _finished(file: Path, place: Place, runs: Runs) -> Plan:
    """The study of a file, some of whose runs are finished."""
    store = place.store(file)
    device = None if runs.device is None else device_kind(runs.device, here=False)
    given = {"images": place.images, "threads": runs.threads, "device": device}
    asked = {**last_options(store), **{name: value for name, value in given.items() if value is not None}}
    made = plan_study(read_study(file), **asked)
    there = store.finished_keys()
    if not there:
        raise SettingsError(f"{store.path} holds no finished runs; start with: hybrid-dip study run {file} -o {store.path}")
    if not there & set(made.unique):
        other = (store.record(min(there)) or {}).get("config", {})
        mine = made.runs[0].config
        differing = ", ".join(sorted(name for name in {**mine, **other} if mine.get(name) != other.get(name)))
        raise SettingsError(f"None of the runs in {store.path} is of this study; they differ in, for instance: {differing}.")
    return made


study = assemble(
    "study",
    "Compare arms on images, tasks and seeds; stop and start at will.",
    {"plan": plan, "run": run, "status": status_, "report": report, "attribute": attribute, "impedance": impedance},
)
