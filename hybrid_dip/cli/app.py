"""The command line: its commands, and how they end."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from hybrid_dip.cli import options
from hybrid_dip.cli.degrade import degrade
from hybrid_dip.cli.image_studies import impedance, sweep
from hybrid_dip.cli.plugins import WithPlugins
from hybrid_dip.cli.restore import restore
from hybrid_dip.cli.study import app as study_app
from hybrid_dip.errors import HybridDIPError, SettingsError, one_sentence
from hybrid_dip.execution import devices
from hybrid_dip.recipes import arguments, listing
from hybrid_dip.recipes.catalogue import KINDS
from hybrid_dip.recipes.presets import original
from hybrid_dip.regularisers.epll import fit_folder
from hybrid_dip.restoring.estimate import duration
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.trial import seconds_of_a_step
from hybrid_dip.study.ready_made.command import plan_content, run_content
from hybrid_dip.study.running.terminal import first_failure

app = typer.Typer(
    cls=WithPlugins,
    help="Restore a degraded image with an untrained network (Deep Image Prior) and any prior you add.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("restore")(restore)
app.command("degrade")(degrade)
app.add_typer(study_app, name="study")
app.command("sweep")(sweep)
app.command("impedance")(impedance)

ORIGINAL_TIMED = 8
"""Steps of the original's recipe that the demo times."""


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS) + ".")],
    as_json: options.AsJson = False,
) -> None:
    """List what can be named on the command line, with options and their defaults."""
    rows = listing.rows(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(listing.as_text(rows) if rows else f"There are no {kind} yet.")


@app.command()
def explain(name: Annotated[str, typer.Argument(help="Any name of `hybrid-dip list`, such as tv or wmv.")]) -> None:
    """Say what a name stands for: its formula, its source, and how it is written."""
    print(listing.explain(name))


@app.command()
def fit_mixture(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")],
    size: Annotated[int, typer.Option(help="Side of the patches, in pixels.")] = 6,
    components: Annotated[int, typer.Option(help="Gaussians.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the patches and of the start.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Fit a Gaussian mixture on the patches of a FOLDER of images, for -R epll:mixture=FILE."""
    arguments.existing_parent(out)
    arguments.at_least_one(size=size, components=components)
    if out.exists() and not overwrite:
        raise SettingsError(f"{out} exists; add --overwrite to replace it.")
    fit_folder(folder, size=size, components=components, seed=seed).save(out)
    print(f"Wrote {out}: use it by -R epll:mixture={out},size={size}.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Result folder.")] = Path("demo"),
    size: Annotated[int, typer.Option(help="Side of the crop, 16 to 256.")] = 128,
    steps: Annotated[int | None, typer.Option(help="Of a fit, instead of the preset's number.")] = None,
    workers: options.Workers = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Restore a noisy photograph by the image's own prior (DIP alone), by a learned one alone, and by both; then compare."""
    from hybrid_dip.study.ready_made.demo import PICTURE, demo_content, report_demo, sentences

    content = demo_content(size, steps)
    made = plan_content(content, out, device=device)
    store, done = run_content(made, content, workers=workers, quiet=quiet)
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed
    table = report_demo(made, store)
    if quiet:
        return
    print(sentences(made, table))
    print(f"Look at {store.path / PICTURE}.")
    task = made.runs[0].subject().task
    full = original(task)
    step = seconds_of_a_step(task, full, (), devices.pick(device), timed=ORIGINAL_TIMED)
    cost = duration(full.steps * step)
    print(f"The original's recipe takes {full.steps} steps, of {step:.2g} s here ({ORIGINAL_TIMED} were timed): {cost}.")


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Restore a degraded image with an untrained network (Deep Image Prior) and any prior you add."""
    if version:
        print(f"hybrid-dip {__version__}")
        raise typer.Exit


# Typer brings a copy of click or uses the installed one, by version: its errors' base is found by name.
_USAGE_ERRORS: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main() -> None:
    """Run the command line; every error is one sentence on stderr and exit status 2."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    again = "Interrupted; repeat the command to go on from the last saved state (a restoration: with --resume)."
    with one_sentence("hybrid-dip", again):
        code = _run()
    sys.exit(code)


def _run() -> int:
    """Typer's exit status; what it and torch raise is raised as errors of this package."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _USAGE_ERRORS as error:
        raise SettingsError(error.format_message()) from None  # type: ignore[attr-defined]
    except HybridDIPError:
        raise
    except ValueError as error:
        raise SettingsError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        of_memory = any(words in str(error) for words in ("allocate memory", "out of memory"))  # a CPU's, a GPU's
        if isinstance(error, RuntimeError) and not of_memory:
            raise
        raise SettingsError("There is not enough memory: take --preset quick, or a part of the image by --crop.") from error
    if code == 130:  # how Typer reports Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
