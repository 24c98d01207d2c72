"""The command line: arguments -> objects, nothing else."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
import typer.core

from hybrid_dip import arguments, devices, listing, options, spec
from hybrid_dip.catalogue import KINDS, catalogue
from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError, one_sentence
from hybrid_dip.estimate import duration, fitting, picked, seconds_of_a_step, side_asked, side_of_tiles
from hybrid_dip.execution import Execution, candidates
from hybrid_dip.folder import ResultFolder
from hybrid_dip.fusing import Fusing, fuse_and_tell
from hybrid_dip.images import Picture, crop_to_centre, load_image, read_picture, save_image
from hybrid_dip.planned import planned, resolve
from hybrid_dip.plugin_commands import WithPlugins
from hybrid_dip.presets import original
from hybrid_dip.recipe import Recipe
from hybrid_dip.regularisers.epll import fit_folder
from hybrid_dip.session import Job, fingerprint, run_and_tell
from hybrid_dip.study.commands import app as study_app
from hybrid_dip.study.image_commands import impedance, observed_entry, restore_many, sweep
from hybrid_dip.study.terminal import failure, whole_study
from hybrid_dip.tiling import of_one_fit
from hybrid_dip.version import __version__

app = typer.Typer(
    cls=WithPlugins,
    help="Restore a degraded image with an untrained network (Deep Image Prior) and any prior you add.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(study_app, name="study")
app.command("sweep")(sweep)
app.command("impedance")(impedance)

ORIGINAL_TIMED = 8
"""Steps of the original's recipe that the demo times."""


@app.command()
def restore(
    image: options.Image,
    task: options.TaskName,
    out: Annotated[Path, typer.Option("-o", "--out", help="Result folder.")],
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
    preset: options.Preset = "original",
    network: options.Network = None,
    latent: options.Latent = None,
    start: options.Start = None,
    solver: options.Solver = None,
    optimise: options.Optimise = None,
    optimizer: options.Optimizer = None,
    lr: options.LearningRate = None,
    lr_schedule: options.LearningRateSchedule = None,
    jitter: options.Jitter = None,
    parameter_noise: options.ParameterNoise = None,
    steps: options.Steps = None,
    seed: Annotated[int, typer.Option(rich_help_panel=options.HOW, help="Of network, latent and jitter.")] = 0,
    runs: options.Runs = None,
    regulariser: Annotated[
        list[str] | None,
        typer.Option(
            "-R",
            "--regulariser",
            rich_help_panel=options.HOW,
            help="NAME[:option=value,...]\\[@weight], file.py:name or module:name; repeatable.",
        ),
    ] = None,
    stop: options.Stop = None,
    fuse: options.Fuse = None,
    arm: options.Arms = None,
    held_out_share: options.HeldOutShare = 0.1,
    reference: options.Reference = None,
    time_budget: Annotated[
        float | None,
        typer.Option(rich_help_panel=options.WHERE, help="Seconds after which each fit ends; its tiles share them."),
    ] = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    compiled: options.Compile = "off",
    graph: options.Graph = "off",
    tile: options.Tile = "auto",
    crop: options.Crop = None,
    checkpoint_every: Annotated[int, typer.Option(rich_help_panel=options.WHERE, help="Steps between two saved states.")] = 200,
    gif: Annotated[bool, typer.Option("--gif", help="Also write fit.gif, the fit as an animation.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same command stopped.")] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Restore IMAGE as it is: no noise is added and no clean image is needed. A folder: all images in it, some at a time."""
    names = catalogue()
    if image.is_dir():
        alone = {"--gif": gif, "--resume": resume, "--overwrite": overwrite, "--precision auto": precision == "auto"}
        alone |= {
            "--compile auto": compiled == "auto",
            "--graph auto": graph == "auto",
            "--fuse": fuse not in (None, "stack"),
        }
        alone |= {"--held-out-share": held_out_share != 0.1}
        refused = [name for name, asked in alone.items() if asked]
        if refused:
            raise SettingsError(f"{refused[0]} is for one image; a folder goes on where it stopped by the same command.")
        here = Path.cwd()
        texts = {"preset": preset, "network": network, "latent": latent, "solver": solver, "stop": stop}
        plain = {"sigma": sigma, "noise": noise, "factor": factor, "kernel": kernel, "pattern": pattern, "shape": shape}
        restore_many(
            image,
            out,
            references=reference,
            task=observed_entry(task, {"mask": mask, "guide": guide}, psf, {**plain, "operator": operator}),
            arm={
                **{name: None if text is None else spec.located(text, here) for name, text in texts.items()},
                "start": None if start is None else str(start.absolute()),
                "optimise": optimise,
                "optimizer": optimizer,
                "lr": lr,
                "lr_schedule": lr_schedule,
                "jitter": jitter,
                "parameter_noise": parameter_noise,
                "steps": steps,
                "runs": runs,
                "precision": None if precision == "float32" else precision,
                "compile": None if compiled == "off" else compiled,
                "graph": None if graph == "off" else graph,
                "regularisers": [spec.located(text, here) for text in regulariser or []],
                "fuse": fuse,
                "tile": None if tile == "auto" else side_asked(tile),
                "presets": [spec.located(text, here) for text in arm or []],
            },
            crop=crop,
            seed=seed,
            time_budget=time_budget,
            workers=workers,
            threads=threads,
            device=device,
            quiet=quiet,
        )
        return
    if workers is not None or threads is not None:
        raise SettingsError("--workers and --threads are for a folder of images; one image is fitted by all threads.")
    picture = _cropped(read_picture(image), crop)
    given = {
        "sigma": sigma,
        "noise": noise,
        "mask": mask,
        "factor": factor,
        "kernel": kernel,
        "psf": psf,
        "guide": guide,
        "pattern": pattern,
        "operator": operator,
        "shape": shape,
    }
    made = arguments.make_task(task, picture.pixels, given, arguments.cropper(crop))
    where = devices.pick(device)

    def recipe_of(one: Task) -> Recipe:
        return arguments.overridden(
            resolve(preset, one),
            network=network,
            latent=latent,
            start=start,
            solver=solver,
            optimise=optimise,
            optimizer=optimizer,
            lr=lr,
            lr_schedule=lr_schedule,
            jitter=jitter,
            parameter_noise=parameter_noise,
            steps=steps,
            runs=runs,
        )

    if fuse is not None and tile not in ("auto", "off"):
        raise SettingsError("--tile does not go with --fuse: take a part of the image with --crop.")
    terms = tuple(spec.term(text, names) for text in regulariser or [])
    folder = ResultFolder(out)
    before = folder.settings() if resume else {}
    if fuse is not None:
        side: int | None = 0
    elif tile == "auto" and "recipe" in before:
        side = before["recipe"].get("tile", 0)  # whatever the free memory would say now
    else:
        side = side_of_tiles(tile, made, recipe_of, where, terms)
    recipe, tiles = planned(made, recipe_of, side, terms)
    fitted = of_one_fit(made, tiles)
    if fuse is not None and (precision, compiled, graph) != ("float32", "off", "off"):
        raise SettingsError("--precision, --compile and --graph do not go with --fuse.")
    if tiles is not None and gif:
        raise SettingsError("--gif does not go with tiles, for an animation is of one fit: add --tile off.")
    rule = recipe.rule if stop is None else spec.build(stop, "stopping", names)
    earlier = Execution(**before["execution"]) if "execution" in before else None
    if earlier is not None and replace(earlier, recomputed=False) in candidates(precision, compiled, graph, where):
        way = earlier  # the fit goes on as it began, whatever a new trial would say
    else:
        way, trials = picked(precision, compiled, graph, fitted, recipe, terms, where)
        for trial in () if quiet else trials:
            seen = trial.error or f"{trial.step:.3g} s a step, {trial.first:.3g} s for the first"
            print(f"{trial.execution}: {seen}" + (" <- taken" if trial.execution == way else ""), file=sys.stderr)
        way = fitting(way, fitted, recipe, where)
    clean = None
    if reference is not None:
        clean = load_image(reference)
        scale = max(1, made.shape[-1] // picture.pixels.shape[-1])
        clean = clean if crop is None else crop_to_centre(clean, crop, scale)
    arguments.at_least_one(checkpoint_every=checkpoint_every)
    arguments.check_seeds(seed, recipe.runs)
    if latent is not None and made.latent is not None:
        raise SettingsError(f"--latent does not go with '{task}', whose guide image is the latent.")
    if time_budget is not None and not 0 < time_budget < float("inf"):
        raise SettingsError(f"--time-budget must be a number of seconds above 0, got {time_budget}.")
    estimated = task == "denoise" and sigma is None and made.noise_sigma is not None
    settings = {
        "image": str(image),
        "image_sha256": fingerprint(picture.pixels),
        "task": task,
        "task_options": {name: str(value) for name, value in given.items() if value is not None},
        "task_sha256": _task_fingerprint(made),
        "operator_sha256": "" if operator is None else spec.fingerprint(operator, "operators", names),
        "noise_sigma": made.noise_sigma,
        "noise_sigma_estimated": estimated,
        "preset": preset,
        "preset_sha256": spec.fingerprint(preset, "presets", names),
        "recipe": recipe.describe(),
        "regularisers": list(regulariser or []),
        "regularisers_sha256": [spec.fingerprint(text) for text in regulariser or []],
        "stop": stop,
        "seed": seed,
        "runs": recipe.runs,
        "crop": crop,
        "time_budget": time_budget,
        "device": str(where),
        "gif": gif,
        "execution": asdict(way),
        "tiles": None if tiles is None else [len(tiles.boxes), tiles.boxes[0].height, tiles.boxes[0].width],
        "reference": None if reference is None else str(reference),
        "reference_sha256": None if clean is None else fingerprint(clean),
    }
    job = Job(
        picture=picture,
        task=made,
        recipe=recipe,
        terms=terms,
        rule=rule,
        seed=seed,
        device=where,
        reference=clean,
        time_budget=time_budget,
        checkpoint_every=checkpoint_every,
        animate=gif,
        quiet=quiet,
        settings=settings,
        execution=way,
    )
    if fuse is None:
        if arm:
            raise SettingsError("--arm goes with --fuse stack.")
        run_and_tell(job, folder, resume=resume, overwrite=overwrite)
    else:
        fusing = Fusing(fuse, tuple(arm or ()), held_out_share)
        fuse_and_tell(job, fusing, folder, resume=resume, overwrite=overwrite)


@app.command()
def degrade(
    image: options.Image,
    task: Annotated[str, typer.Option(help="What to do to it; see `hybrid-dip list degradations`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write; .npy keeps what 8 bits would clip or round.")],
    sigma: options.Sigma = None,
    noise: options.Noise = None,
    peak: Annotated[float | None, typer.Option(help="Poisson noise: photons at white.")] = None,
    looks: Annotated[float | None, typer.Option(help="Speckle: how many intensities are averaged.")] = None,
    share: Annotated[float | None, typer.Option(help="Share of pixels kept (missing-pixels) or hit (salt and pepper).")] = None,
    per: Annotated[str | None, typer.Option(help="missing-pixels: whole pixels (pixel) or single channels (entry).")] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Clip Gaussian noise to [0, 1], as the original does.")] = False,
    quality: Annotated[int | None, typer.Option(help="JPEG quality, 1..95.")] = None,
    mask: options.Mask = None,
    factor: options.Factor = None,
    kernel: Annotated[
        str | None, typer.Option(help="Super-resolution: pil (default, as the original) or as in restore.")
    ] = None,
    psf: options.Psf = None,
    pattern: options.Pattern = None,
    operator: options.Operator = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; default 0.")] = None,
    crop: options.Crop = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Degrade a clean IMAGE, to try a restoration on; the mask of missing pixels is written beside it."""
    picture = _cropped(read_picture(image), crop)
    given = {
        "sigma": sigma,
        "noise": noise,
        "peak": peak,
        "looks": looks,
        "share": share,
        "per": per,
        "clip": clip or None,
        "quality": quality,
        "mask": mask,
        "factor": factor,
        "kernel": kernel,
        "psf": psf,
        "pattern": pattern,
        "operator": operator,
        "seed": seed,
    }
    mask_out = out.with_name(f"{out.stem}_mask" + (".npy" if out.suffix == ".npy" else ".png"))
    arguments.existing_parent(out)
    reference_out = out.with_name(f"{out.stem}_reference{out.suffix}")
    readers = arguments.degradation_readers(arguments.cropper(crop))
    factory = catalogue().get("degradations", task)
    case = arguments.call(factory, task, picture.pixels, given, readers)
    written = {out: case.task.observation}
    if case.task.weight is not None and mask is None:
        written[mask_out] = case.task.weight
    if case.reference.shape != picture.pixels.shape:
        written[reference_out] = case.reference
    for path in written:
        if path.exists() and not overwrite:
            raise SettingsError(f"{path} exists; add --overwrite to replace it.")
    for path, pixels in written.items():
        if path == mask_out:
            save_image(pixels, path)
        else:
            save_image(pixels, path, alpha=picture.alpha_at((pixels.shape[-2], pixels.shape[-1])), bits=picture.bits)
    print(f"Wrote {out}: {case.name}.")
    if out.suffix != ".npy" and bool(((case.task.observation < 0) | (case.task.observation > 1)).any()):
        print(f"{out.suffix} files clip to [0, 1]; name the file .npy to keep noise beyond it.", file=sys.stderr)
    if mask_out in written:
        print(f"Wrote {mask_out}: {1 if mask_out.suffix == '.npy' else 255} = known pixel.")
    if reference_out in written:
        print(f"Wrote {reference_out}: the clean image, cropped to a multiple of the factor.")


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
    from hybrid_dip.study.demo import PICTURE, demo_content, report_demo, sentences

    made, store, done = whole_study(demo_content(size, steps), out, device=device, workers=workers, quiet=quiet)
    failed = failure(made, store, done)
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


def _cropped(picture: Picture, crop: int | None) -> Picture:
    if crop is None:
        return picture
    arguments.at_least_one(crop=crop)
    alpha = None if picture.alpha is None else crop_to_centre(picture.alpha, crop)
    return replace(picture, pixels=crop_to_centre(picture.pixels, crop), alpha=alpha)


def _task_fingerprint(task: Task) -> str:
    operator = [] if not isinstance(task.forward, torch.nn.Module) else [*task.forward.buffers(), *task.forward.parameters()]
    parts = [task.observation, task.weight, task.latent, *operator]
    return fingerprint(torch.cat([part.flatten().float() for part in parts if part is not None]))


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
