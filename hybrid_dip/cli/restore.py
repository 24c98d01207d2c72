"""``hybrid-dip restore``: options -> a job for one image, or the study that a folder of images is."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from hybrid_dip.cli import options
from hybrid_dip.cli.fused_job import Fusing, fuse_and_tell
from hybrid_dip.cli.image_studies import observed_entry, restore_many
from hybrid_dip.cli.job import Job, run_and_tell
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import Execution
from hybrid_dip.execution.timing import Timing, candidates
from hybrid_dip.images.files import Picture, crop_to_centre, fingerprint, load_image, read_picture
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.recipes import arguments, spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.memory import recompute_if_needed
from hybrid_dip.restoring.plan import recipe_and_tiles, resolve
from hybrid_dip.restoring.side import parse_side, side_of_tiles
from hybrid_dip.restoring.trial import choose_execution

HELD_OUT_SHARE = 0.1


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
    held_out_share: options.HeldOutShare = HELD_OUT_SHARE,
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
    changed = {
        "network": network,
        "latent": latent,
        "start": start,
        "solver": solver,
        "optimise": optimise,
        "optimizer": optimizer,
        "lr": lr,
        "lr_schedule": lr_schedule,
        "jitter": jitter,
        "parameter_noise": parameter_noise,
        "steps": steps,
        "runs": runs,
    }
    if image.is_dir():
        _refuse_for_a_folder(
            {
                "--gif": gif,
                "--resume": resume,
                "--overwrite": overwrite,
                "--precision auto": precision == "auto",
                "--compile auto": compiled == "auto",
                "--graph auto": graph == "auto",
                "--fuse": fuse not in (None, "stack"),
                "--held-out-share": held_out_share != HELD_OUT_SHARE,
            }
        )
        restore_many(
            image,
            out,
            references=reference,
            task=_entry(task, given),
            arm={
                **_located(changed),
                **_located({"preset": preset, "stop": stop}),
                "precision": None if precision == "float32" else precision,
                "compile": None if compiled == "off" else compiled,
                "graph": None if graph == "off" else graph,
                "regularisers": [spec_files.locate(text, Path.cwd()) for text in regulariser or []],
                "fuse": fuse,
                "tile": None if tile == "auto" else parse_side(tile),
                "presets": [spec_files.locate(text, Path.cwd()) for text in arm or []],
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
    if fuse is not None and tile not in ("auto", "off"):
        raise SettingsError("--tile does not go with --fuse: take a part of the image with --crop.")
    if fuse is not None and (precision, compiled, graph) != ("float32", "off", "off"):
        raise SettingsError("--precision, --compile and --graph do not go with --fuse.")
    if arm and fuse is None:
        raise SettingsError("--arm goes with --fuse stack.")
    fusing = None if fuse is None else Fusing(fuse, tuple(arm or ()), held_out_share)
    if time_budget is not None and not 0 < time_budget < float("inf"):
        raise SettingsError(f"--time-budget must be a number of seconds above 0, got {time_budget}.")
    arguments.at_least_one(checkpoint_every=checkpoint_every)
    names = catalogue()
    picture = arguments.cropped(read_picture(image), crop)
    made = arguments.make_task(task, picture.pixels, given, arguments.cropper(crop))
    if latent is not None and made.latent is not None:
        raise SettingsError(f"--latent does not go with '{task}', whose guide image is the latent.")
    where = devices.pick(device)
    terms = tuple(spec.term(text, names) for text in regulariser or [])
    folder = ResultFolder(out)
    before = folder.settings() if resume else {}

    def recipe_of(one: Task) -> Recipe:
        return arguments.overridden(resolve(preset, one), **changed)

    if fusing is not None:
        side: int | None = 0
    elif tile == "auto" and "recipe" in before:
        side = before["recipe"].get("tile", 0)  # whatever the free memory would say now
    else:
        side = side_of_tiles(tile, made, recipe_of, where, terms)
    recipe, tiles = recipe_and_tiles(made, recipe_of, side, terms)
    arguments.check_seeds(seed, recipe.runs)
    if tiles is not None and gif:
        raise SettingsError("--gif does not go with tiles, for an animation is of one fit: add --tile off.")
    rule = recipe.rule if stop is None else spec.build(stop, "stopping", names)
    way = _earlier_way(before, candidates(precision, compiled, graph, where))
    if way is None:
        fitted = of_one_fit(made, tiles)
        way, trials = choose_execution(precision, compiled, graph, fitted, recipe, terms, where)
        if not quiet:
            _tell(trials, way)
        way = recompute_if_needed(way, fitted, recipe, where)
    clean = None if reference is None else _clean(reference, made, picture, crop)
    settings = {
        "image": str(image),
        "image_sha256": fingerprint(picture.pixels),
        "task": task,
        "task_options": {name: str(value) for name, value in given.items() if value is not None},
        "task_sha256": _task_fingerprint(made),
        "operator_sha256": "" if operator is None else spec_files.fingerprint(operator, "operators", names),
        "noise_sigma": made.noise_sigma,
        "noise_sigma_estimated": task == "denoise" and sigma is None and made.noise_sigma is not None,
        "preset": preset,
        "preset_sha256": spec_files.fingerprint(preset, "presets", names),
        "recipe": recipe.describe(),
        "regularisers": list(regulariser or []),
        "regularisers_sha256": [spec_files.fingerprint(text) for text in regulariser or []],
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
    if fusing is None:
        run_and_tell(job, folder, resume=resume, overwrite=overwrite)
    else:
        fuse_and_tell(job, fusing, folder, resume=resume, overwrite=overwrite)


def _refuse_for_a_folder(asked: Mapping[str, bool]) -> None:
    refused = [name for name, given in asked.items() if given]
    if refused:
        raise SettingsError(f"{refused[0]} is for one image; a folder goes on where it stopped by the same command.")


def _located(texts: Mapping[str, Any]) -> dict[str, Any]:
    """SPECs and files as they are named from any folder."""
    found = dict(texts)
    for name in ("preset", "network", "latent", "solver", "stop"):
        if found.get(name) is not None:
            found[name] = spec_files.locate(found[name], Path.cwd())
    if found.get("start") is not None:
        found["start"] = str(Path(found["start"]).absolute())
    return found


def _entry(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    files = {name: given[name] for name in ("mask", "guide")}
    return observed_entry(
        task, files, given["psf"], {name: given[name] for name in given if name not in ("mask", "guide", "psf")}
    )


def _earlier_way(before: Mapping[str, Any], possible: Sequence[Execution]) -> Execution | None:
    """A fit goes on as it began, whatever a new trial would say."""
    if "execution" not in before:
        return None
    earlier = Execution(**before["execution"])
    return earlier if replace(earlier, recomputed=False) in possible else None


def _tell(trials: Sequence[Timing], taken: Execution) -> None:
    for trial in trials:
        seen = trial.error or f"{trial.step:.3g} s a step, {trial.first:.3g} s for the first"
        print(f"{trial.execution}: {seen}" + (" <- taken" if trial.execution == taken else ""), file=sys.stderr)


def _clean(path: Path, task: Task, picture: Picture, crop: int | None) -> Tensor:
    """The reference, cropped as the picture is."""
    clean = load_image(path)
    scale = max(1, task.shape[-1] // picture.pixels.shape[-1])
    return clean if crop is None else crop_to_centre(clean, crop, scale)


def _task_fingerprint(task: Task) -> str:
    operator = [] if not isinstance(task.forward, torch.nn.Module) else [*task.forward.buffers(), *task.forward.parameters()]
    parts = [task.observation, task.weight, task.latent, *operator]
    return fingerprint(torch.cat([part.flatten().float() for part in parts if part is not None]))
