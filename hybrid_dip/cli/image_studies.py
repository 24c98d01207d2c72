"""Commands that make a study of what they are asked for: ``hybrid-dip sweep``, ``impedance`` and ``restore FOLDER``."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hybrid_dip.cli import options
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import spec_files
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.describe.sources import absolute
from hybrid_dip.study.ready_made.command import plan_content, run_content
from hybrid_dip.study.running.status import PLAN
from hybrid_dip.study.running.terminal import first_failure


def sweep(
    image: options.Image,
    task: options.TaskName,
    regulariser: Annotated[
        list[str],
        typer.Option(
            "-R",
            "--regulariser",
            help="NAME\\[:option=value,...]@W1,W2,... or @balance=W1,W2,...: each such prior is swept by itself; one with a "
            "single weight is in every fit.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the sweep.")],
    reference: options.Reference = None,
    held_out: Annotated[
        float | None,
        typer.Option(help="Share of the measured pixels that no fit sees, to judge by; 0.1 where there is no --reference."),
    ] = None,
    sigma: options.Sigma = None,
    noise: options.Noise = None,
    mask: options.Mask = None,
    factor: options.Factor = None,
    kernel: options.Kernel = None,
    psf: options.Psf = None,
    guide: options.Guide = None,
    pattern: options.Pattern = None,
    operator: options.Operator = None,
    shape: options.Shape = None,
    preset: options.Preset = "fast",
    network: options.Network = None,
    latent: options.Latent = None,
    start: options.Start = None,
    lr: options.LearningRate = None,
    jitter: options.Jitter = None,
    steps: options.Steps = None,
    runs: options.Runs = None,
    stop: options.Stop = None,
    seed: Annotated[
        list[int] | None, typer.Option(rich_help_panel=options.HOW, help="Repeatable; a dot of the plot each. Default 0.")
    ] = None,
    crop: options.Crop = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit degraded IMAGE with priors at several weights, and draw PSNR (or the error on held-out pixels) against the weight.

    It is a study: interrupt it, repeat it, add weights, and what is done stays.
    """
    from hybrid_dip.study.ready_made.sweep import report_sweep, sentences, sweep_content

    here = Path.cwd()
    plain = {"sigma": sigma, "noise": noise, "factor": factor, "kernel": kernel, "pattern": pattern, "shape": shape}
    entry = observed_entry(task, {"mask": mask, "guide": guide}, psf, {**plain, "operator": operator})
    entry["held_out"] = 0.1 if held_out is None and reference is None else held_out
    texts = {"network": network, "latent": latent, "stop": stop}
    begun = None if start is None else str(start.absolute())
    own = {name: None if text is None else spec_files.locate(text, here) for name, text in texts.items()}
    arm = {"preset": preset, "start": begun, "lr": lr, "jitter": jitter, "steps": steps, "runs": runs, **own}
    picture = {"path": str(image.absolute()), "reference": None if reference is None else str(reference.absolute())}
    content, swept = sweep_content(
        [spec_files.locate(text, here) for text in regulariser], [_given(picture)], _given(entry), _given(arm)
    )
    content |= _given({"crop": crop, "seeds": seed, "threads": threads})
    made = plan_content(content, out, device=device)
    store, done = run_content(made, content, workers=workers, quiet=quiet)
    found = report_sweep(made, store, swept)
    if as_json:
        print(json.dumps(found, indent=2))
    elif not quiet:
        print(sentences(found))
        print(f"Look at {found['files'][-1]}; pictures: hybrid-dip study report {out / 'sweep.toml'}")
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed


def restore_many(
    folder: Path,
    out: Path,
    *,
    references: Path | None,
    task: Mapping[str, Any],
    arm: Mapping[str, Any],
    crop: int | None,
    seed: int,
    time_budget: float | None,
    workers: int | None,
    threads: int | None,
    device: str,
    quiet: bool,
) -> None:
    """Restore all images of a folder, some at a time; what ``hybrid-dip restore FOLDER`` does."""
    from hybrid_dip.study.ready_made.many import many_content, processes, put_together, side_for_all
    from hybrid_dip.study.reporting.results import write_results

    if out.is_dir() and any(out.iterdir()) and not (out / PLAN).is_file():
        raise SettingsError(f"{out} holds other files, which the restored images might replace: name a new folder.")
    content = many_content(folder, references, task, _given(arm), crop) | {"seeds": [seed]} | _given({"threads": threads})
    content |= {} if time_budget is None else {"budget": {"seconds_per_run": time_budget}}
    made, entry = plan_content(content, out, device=device), content["arms"][0]
    begun = made.study.path
    count = processes(made, workers)
    if not {"tile", "fuse"} & set(entry):
        # Images go on in the tiles that they began with, whatever is free now.
        side = read_study(begun).arms[0].tile if begun.is_file() else side_for_all(made, count)
        if side is not None:
            entry["tile"] = side
            made = plan_content(content, out, device=device)
            if side and not quiet:
                print(f"Not all images fit into memory as a whole: in tiles of at most {side} pixels.", file=sys.stderr)
    store, done = run_content(made, content, workers=count, quiet=quiet)
    write_results(made, store)
    written = put_together(made, store)
    if not quiet and written:
        print(f"{len(written)} of {len(made.runs)} images restored: look at {written[0]} and beside it; {out / 'results.csv'}.")
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed


def observed_entry(task: str, files: Mapping[str, Path | None], psf: str | None, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a study file for images that are degraded already.

    Args:
        task: Its kind.
        files: Options that name a file -> as on the command line.
        psf: A file, or a SPEC such as "gaussian:1.5".
        plain: All other options.

    Returns:
        Without those that were not given; files by absolute paths.
    """
    named = {name: None if path is None else str(path.absolute()) for name, path in files.items()}
    given = {**plain, **named, "psf": str(Path(psf).absolute()) if psf is not None and Path(psf).is_file() else psf}
    if given.get("operator") is not None:
        given["operator"] = spec_files.locate(given["operator"], Path.cwd())
    return {"kind": task, "observed": True, **_given(given)}


def impedance(
    images: Annotated[list[str], typer.Argument(help="Clean images: files, folders, globs or skimage:NAME.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study.")],
    network: Annotated[
        list[str] | None,
        typer.Option(help="NAME\\[:option=value,...] or file.py:NAME, as for restore; repeatable. Default: the preset's own."),
    ] = None,
    preset: options.Preset = "original",
    lr: options.LearningRate = None,
    steps: Annotated[int, typer.Option(rich_help_panel=options.HOW, help="Of each fit.")] = 2000,
    seed: Annotated[list[int] | None, typer.Option(rich_help_panel=options.HOW, help="Repeatable. Default 0.")] = None,
    crop: options.Crop = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the noise impedance of networks: how much sooner they fit an image than its shuffled pixels, as one number.

    Each network is fitted to each image, to the image with noise, to its pixels shuffled, and to noise (Figure 2 of the Deep
    Image Prior). It is a study: interrupt it, repeat it, add images or networks, and what is done stays.
    """
    from hybrid_dip.study.ready_made.impedance import impedance_content, report_impedance, sentences

    arm = _given({"preset": preset, "lr": lr, "steps": steps}) | {"tile": 0}  # it is of one fit to the whole image
    networks = [spec_files.locate(text, Path.cwd()) for text in network or []]
    content = impedance_content([absolute(text) for text in images], networks, arm)
    content |= _given({"crop": crop, "seeds": seed, "threads": threads})
    made = plan_content(content, out, device=device)
    store, done = run_content(made, content, workers=workers, quiet=quiet)
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed
    found = report_impedance(made, store)
    if as_json:
        print(json.dumps(found, indent=2))
    elif not quiet:
        print(sentences(found))
        print(f"Look at {found['files'][-1]}.")


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """What a user gave: a study file knows no null."""
    return {name: value for name, value in table.items() if value is not None}
