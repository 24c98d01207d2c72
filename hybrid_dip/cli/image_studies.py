"""Commands that make a study of what they are asked for: ``hybrid-dip sweep`` and ``hybrid-dip impedance``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hybrid_dip.cli.method import Method
from hybrid_dip.cli.options import HOW, AsJson, CleanImages, Image, Part, Quiet, Seeds, Source, entry
from hybrid_dip.cli.where import Machine
from hybrid_dip.cli.wrong import Observation
from hybrid_dip.study.describe.sources import absolute_path
from hybrid_dip.study.ready_made.command import plan_content, run_content
from hybrid_dip.study.running.terminal import first_failure

SWEPT = (
    "NAME[:option=value,...]@W1,W2,... or @balance=W1,W2,...: each such prior is swept alone; one with a single weight is in "
    "every fit. Repeatable."
)


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class SweepMethod(Method):
    """What is fitted in a sweep."""

    preset: str = "fast"
    """Recipe; see `hybrid-dip list presets`."""
    regularisers: Annotated[tuple[str, ...], Parameter(("--regulariser", "-R"), help=SWEPT)]
    seed: Seeds = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SweepSource(Source):
    """What the fits of a sweep are judged by."""

    held_out: float | None = None
    """Share of the measured pixels that no fit sees, to judge by; 0.1 where there is no --reference."""

    @property
    def share(self) -> float | None:
        """The share that is held out, or None."""
        return 0.1 if self.held_out is None and self.reference is None else self.held_out


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class ImpedanceMethod:
    """What is fitted to measure an impedance."""

    network: tuple[str, ...] = ()
    """NAME[:option=value,...] or file.py:NAME, as for restore; repeatable. By default the preset's own."""
    preset: str = "original"
    """Recipe; see `hybrid-dip list presets`."""
    lr: float | None = None
    """Learning rate."""
    steps: int = 2000
    """Steps of each fit."""
    seed: Seeds = ()


def sweep(
    image: Image,
    /,
    *,
    wrong: Observation,
    out: Annotated[Path, Parameter(("--out", "-o"), help="Folder of the sweep.")],
    source: SweepSource = SweepSource(),
    method: SweepMethod,
    machine: Machine = Machine(),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit degraded IMAGE with priors at several weights, and draw PSNR (or the error on held-out pixels) against the weight.

    It is a study: interrupt it, repeat it, add weights, and what is done stays.
    """
    from hybrid_dip.study.ready_made.sweep import report_sweep, sentences, sweep_content

    arm = entry(vars(method))
    regularisers, seeds = arm.pop("regularisers"), arm.pop("seed", None)
    picture = entry({"path": image, "reference": source.reference})
    task = wrong.entry() | entry({"held_out": source.share})
    content, swept = sweep_content(regularisers, [picture], task, arm)
    content |= entry({"crop": source.crop, "seeds": seeds, "threads": machine.threads})
    made = plan_content(content, out, device=machine.device)
    store, done = run_content(made, content, workers=machine.workers, quiet=quiet)
    summary = report_sweep(made, store, swept)
    if as_json:
        print(json.dumps(summary, indent=2))
    elif not quiet:
        print(sentences(summary))
        print(f"Look at {summary['files'][-1]}; pictures: hybrid-dip study report {out / 'sweep.toml'}")
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed


def impedance(
    images: CleanImages,
    /,
    *,
    out: Annotated[Path, Parameter(("--out", "-o"), help="Folder of the study.")],
    method: ImpedanceMethod = ImpedanceMethod(),
    part: Part = Part(),
    machine: Machine = Machine(),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure the noise impedance of networks: how much sooner they fit an image than its shuffled pixels, as one number.

    Each network is fitted to each image, to the image with noise, to its pixels shuffled, and to noise (Figure 2 of the Deep
    Image Prior). It is a study: interrupt it, repeat it, add images or networks, and what is done stays.
    """
    from hybrid_dip.study.ready_made.impedance import impedance_content, report_impedance, sentences

    arm = entry(vars(method)) | {"tile": 0}  # it is of one fit to the whole image
    networks, seeds = arm.pop("network", []), arm.pop("seed", None)
    content = impedance_content([absolute_path(text) for text in images], networks, arm)
    content |= entry({"crop": part.crop, "seeds": seeds, "threads": machine.threads})
    made = plan_content(content, out, device=machine.device)
    store, done = run_content(made, content, workers=machine.workers, quiet=quiet)
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed
    summary = report_impedance(made, store)
    if as_json:
        print(json.dumps(summary, indent=2))
    elif not quiet:
        print(f"{sentences(summary)}\nLook at {summary['files'][-1]}.")
