"""The command line: its commands, and how they end."""

import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from cyclopts import App, Argument, CycloptsError, MissingArgumentError, Parameter

from hybrid_dip.cli.assemble import assemble
from hybrid_dip.cli.degrade import degrade
from hybrid_dip.cli.image_studies import impedance, sweep
from hybrid_dip.cli.noise import noise
from hybrid_dip.cli.options import OPTIONS, AsJson, OutFile, Overwrite, Quiet, check_new, entry
from hybrid_dip.cli.page import app as page
from hybrid_dip.cli.plugins import add_plugin_commands
from hybrid_dip.cli.restore import restore
from hybrid_dip.cli.study import study
from hybrid_dip.cli.where import Machine
from hybrid_dip.errors import HybridDIPError, SettingsError, one_sentence
from hybrid_dip.execution import devices
from hybrid_dip.recipes import listing
from hybrid_dip.recipes.catalogue import KINDS
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.recipes.presets import original
from hybrid_dip.regularisers.epll import fit_folder
from hybrid_dip.restoring.estimate import duration
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.trial import seconds_of_a_step
from hybrid_dip.study.ready_made.command import plan_content, run_content
from hybrid_dip.study.running.terminal import first_failure

HELP = "Restore a degraded image with an untrained network (Deep Image Prior) and any prior you add."
INTERRUPTED = "Interrupted; repeat the command to go on from the last saved state (a restoration: with --resume)."
ORIGINAL_TIMED = 8
"""Steps of the original's recipe that the demo times."""


def list_(kind: Annotated[str, Parameter(help=", ".join(KINDS) + ".")], /, *, as_json: AsJson = False) -> None:
    """List what can be named on the command line, with options and their defaults."""
    rows = listing.rows(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(listing.as_text(rows) if rows else f"There are no {kind} yet.")


def explain(name: Annotated[str, Parameter(help="Any name of `hybrid-dip list`, such as tv or wmv.")], /) -> None:
    """Say what a name stands for: its formula, its source, and how it is written."""
    print(listing.explain(name))


def fit_mixture(
    folder: Annotated[Path, Parameter(help="Folder of images.")],
    /,
    *,
    out: OutFile,
    size: Annotated[int, Parameter(help="Side of the patches, in pixels.")] = 6,
    components: Annotated[int, Parameter(help="Number of Gaussians.")] = 50,
    seed: Annotated[int, Parameter(help="Seed of the patches and of the start.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Fit a Gaussian mixture on the patches of a FOLDER of images, for -R epll:mixture=FILE."""
    check_at_least_one(size=size, components=components)
    check_new(out, overwrite=overwrite)
    fit_folder(folder, size=size, components=components, seed=seed).save(out)
    print(f"Wrote {out}: use it by -R epll:mixture={out},size={size}.")


def demo(
    *,
    out: Annotated[Path, Parameter(("--out", "-o"), help="Result folder.")] = Path("demo"),
    size: Annotated[int, Parameter(help="Side of the crop, 16 to 256.")] = 128,
    steps: Annotated[int | None, Parameter(help="Steps of each fit, instead of the preset's number.")] = None,
    machine: Machine = Machine(),
    quiet: Quiet = False,
) -> None:
    """Restore a noisy photograph by the image's own prior (DIP alone), by a learned one alone, and by both; then compare."""
    from hybrid_dip.study.ready_made.demo import PICTURE, demo_content, report_demo, sentences

    content = demo_content(size, steps) | entry({"threads": machine.threads})
    made = plan_content(content, out, device=machine.device)
    store, done = run_content(made, content, workers=machine.workers, quiet=quiet)
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
    step = seconds_of_a_step(task, full, (), devices.pick(machine.device), timed=ORIGINAL_TIMED)
    cost = duration(full.steps * step)
    print(f"The original's recipe takes {full.steps} steps, of {step:.2g} s here ({ORIGINAL_TIMED} were timed): {cost}.")


def make_app() -> App:
    """Put this package's own commands together."""
    app = assemble(
        "hybrid-dip",
        HELP,
        {
            "restore": restore,
            "degrade": degrade,
            "noise": noise,
            "study": study,
            "sweep": sweep,
            "impedance": impedance,
            "list": list_,
            "explain": explain,
            "fit-mixture": fit_mixture,
            "demo": demo,
            "app": page,
        },
        version=f"hybrid-dip {__version__}",
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    app["--help"].group = app["--version"].group = OPTIONS
    return app


def main() -> None:
    """Run the command line; every error is one sentence on stderr and exit status 2."""
    with one_sentence("hybrid-dip", INTERRUPTED):
        _run(sys.argv[1:])
    sys.exit(0)


def _run(words: list[str]) -> None:
    """Run a command; what the library and torch raise is raised as errors of this package."""
    _check_words(words)
    app = make_app()
    called = words[0] if words else "--help"
    try:
        if called not in app or called in ("--help", "-h"):
            add_plugin_commands(app, called)
        app(words)
    except CycloptsError as error:
        raise SettingsError(_sentence(error)) from None
    except HybridDIPError:
        raise
    except ValueError as error:
        raise SettingsError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        of_memory = any(sign in str(error) for sign in ("allocate memory", "out of memory"))  # a CPU's, a GPU's
        if isinstance(error, RuntimeError) and not of_memory:
            raise
        raise SettingsError("There is not enough memory: take --preset quick, or a part of the image by --crop.") from error


def _check_words(words: list[str]) -> None:
    """Refuse empty words, such as of a shell variable that is not set: as a path they would be the current folder."""
    for before, word in zip(["hybrid-dip", *words], words, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            name = before if not word else word[:-1]
            raise SettingsError(f"What follows '{name}' is empty; a file, a folder or a value was expected.")


def _sentence(error: CycloptsError) -> str:
    """What is wrong with the user's words."""
    if not isinstance(error, MissingArgumentError) or error.argument is None or error.keyword is not None:
        return str(error)
    names = list(_missing(error.argument))
    unknown = [word for word in error.unused_tokens or () if word.startswith("-")]
    pairs = [(name, word) for name in names for word in get_close_matches(name, unknown, n=1)]
    hints = [f" Did you mean {name} instead of {word}?" for name, word in pairs]
    return f"'{' '.join(error.command_chain or ())}' needs {' and '.join(names)}." + "".join(hints)


def _missing(argument: Argument) -> Iterator[str]:
    """Names of what was not given and has to be: of the argument itself, or of the options in a group."""
    if argument.children:
        for child in argument.children:
            yield from _missing(child)
    elif argument.required and not argument.tokens:
        yield argument.name


if __name__ == "__main__":
    main()
