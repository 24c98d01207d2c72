"""``hybrid-dip restore``: options -> a job for one image, or the study that a folder of images is."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.cli.asked import Restoration
from hybrid_dip.cli.fused_job import Fusing, fuse_and_tell
from hybrid_dip.cli.job import Job, run_and_tell
from hybrid_dip.cli.log import check_log
from hybrid_dip.cli.options import Image
from hybrid_dip.cli.restore_folder import restore_folder
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.cli.where import Evaluation
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import Execution
from hybrid_dip.execution.timing import Timing, candidates
from hybrid_dip.images.files import fingerprint
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.limits import check_at_least_one, check_seeds
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.memory import recompute_if_needed
from hybrid_dip.restoring.plan import recipe_and_tiles
from hybrid_dip.restoring.side import side_of_tiles
from hybrid_dip.restoring.trial import choose_execution


def restore(image: Image, /, *, asked: Restoration) -> None:
    """Restore IMAGE as it is: no noise is added and no clean image is needed. A folder: all images in it, some at a time."""
    if image.is_dir():
        restore_folder(image, asked)
    else:
        _check_one_image(asked.where)
        with devices.threads(asked.where.threads):
            _restore_image(image, asked)


def _restore_image(image: Path, asked: Restoration) -> None:
    method, where, output = asked.method, asked.where, asked.output
    check_log(output.log)
    fusing = _fusing(asked)
    picture = asked.source.read(image)
    task = asked.wrong.make(picture, asked.source)
    if method.latent is not None and task.latent is not None:
        raise SettingsError(f"--latent does not go with '{task.name}', whose guide image is the latent.")
    device, terms, folder = devices.pick(where.device), method.terms(), ResultFolder(output.out)
    before = folder.settings() if output.resume else {}
    side = 0 if fusing is not None else _side(asked, task, device, terms, before)
    recipe, tiles = recipe_and_tiles(task, method.recipe, side, terms)
    check_seeds(method.seed, recipe.runs)
    if tiles is not None and output.gif:
        raise SettingsError("--gif does not go with tiles, for an animation is of one fit: add --tile off.")
    job = Job(
        picture=picture,
        task=task,
        recipe=recipe,
        terms=terms,
        rule=method.rule(recipe),
        seed=method.seed,
        device=device,
        reference=asked.source.clean(picture, task),
        time_budget=where.time_budget,
        checkpoint_every=where.checkpoint_every,
        animate=output.gif,
        log=output.log,
        quiet=output.quiet,
        settings={},
    )
    job = replace(job, execution=_execution(asked, job, before))
    job = replace(job, settings=_settings(image, asked, job))
    if fusing is None:
        run_and_tell(job, folder, resume=output.resume, overwrite=output.overwrite)
    else:
        fuse_and_tell(job, fusing, folder, resume=output.resume, overwrite=output.overwrite)


def _fusing(asked: Restoration) -> Fusing | None:
    """How the priors are fused, where they are."""
    fusion, where = asked.fusion, asked.where
    if fusion.fuse is None:
        if fusion.arm:
            raise SettingsError("--arm goes with --fuse stack.")
        return None
    if where.tile not in ("auto", "off"):
        raise SettingsError("--tile does not go with --fuse: take a part of the image with --crop.")
    if where.ways != Evaluation().ways:
        raise SettingsError("--precision, --compile and --graph do not go with --fuse.")
    return Fusing(fusion.fuse, fusion.arm, fusion.held_out_share)


def _check_one_image(where: Evaluation) -> None:
    if where.workers is not None:
        raise SettingsError("--workers is for a folder of images; one image is fitted by one process, of --threads threads.")
    if where.time_budget is not None and not 0 < where.time_budget < float("inf"):
        raise SettingsError(f"--time-budget must be a number of seconds above 0, got {where.time_budget}.")
    check_at_least_one(checkpoint_every=where.checkpoint_every, threads=1 if where.threads is None else where.threads)


def _side(asked: Restoration, task: Task, device: torch.device, terms: Sequence[Term], before: Mapping[str, Any]) -> int | None:
    """The side of the tiles; a fit goes on in the tiles that it began with, whatever the free memory would say now."""
    if asked.where.tile == "auto" and "recipe" in before:
        side: int = before["recipe"].get("tile", 0)
        return side
    return side_of_tiles(asked.where.tile, task, asked.method.recipe, device, terms)


def _execution(asked: Restoration, job: Job, before: Mapping[str, Any]) -> Execution:
    """How the network is evaluated; a fit goes on as it began, whatever a new trial would say."""
    ways = asked.where.ways
    if "execution" in before:
        earlier = Execution(**before["execution"])
        if replace(earlier, recomputed=False) in candidates(*ways, job.device):
            return earlier
    way, trials = choose_execution(*ways, job.fitted, job.recipe, job.terms, job.device)
    if not job.quiet:
        _print_trials(trials, way)
    return recompute_if_needed(way, job.fitted, job.recipe, job.device)


def _print_trials(trials: Sequence[Timing], taken: Execution) -> None:
    for trial in trials:
        seen = trial.error or f"{trial.step:.3g} s a step, {trial.first:.3g} s for the first"
        print(f"{trial.execution}: {seen}" + (" <- taken" if trial.execution == taken else ""), file=sys.stderr)


def _settings(image: Path, asked: Restoration, job: Job) -> dict[str, Any]:
    """Everything that the result depends on, for the manifest and for resuming."""
    wrong, method, source, names = asked.wrong, asked.method, asked.source, catalogue()
    return {
        "image": str(image),
        "image_sha256": fingerprint(job.picture.pixels),
        "task": wrong.task,
        "task_options": {name: str(value) for name, value in wrong.options.items() if value is not None},
        "task_sha256": _task_fingerprint(job.task),
        "operator_sha256": "" if wrong.operator is None else spec_files.fingerprint(wrong.operator, "operators", names),
        "noise_sigma": job.task.noise_sigma,
        "noise_sigma_estimated": job.task.name == "denoise" and wrong.sigma is None and job.task.noise_sigma is not None,
        "preset": spec.as_catalogued(method.preset, "presets", names),
        "preset_sha256": spec_files.fingerprint(method.preset, "presets", names),
        "recipe": job.recipe.describe(),
        "regularisers": [spec.as_catalogued(text, "regularisers", names) for text in method.regularisers],
        "regularisers_sha256": [spec_files.fingerprint(text) for text in method.regularisers],
        "stop": None if method.stop is None else spec.as_catalogued(method.stop, "stopping", names),
        "seed": method.seed,
        "runs": job.recipe.runs,
        "crop": source.crop,
        "time_budget": job.time_budget,
        "device": str(job.device),
        "threads": asked.where.threads,
        "gif": job.animate,
        "log": job.log,
        "execution": asdict(job.execution),
        "tiles": None if job.tiles is None else [len(job.tiles.boxes), job.tiles.boxes[0].height, job.tiles.boxes[0].width],
        "reference": None if source.reference is None else str(source.reference),
        "reference_sha256": None if job.reference is None else fingerprint(job.reference),
    }


def _task_fingerprint(task: Task) -> str:
    operator = [] if not isinstance(task.forward, torch.nn.Module) else [*task.forward.buffers(), *task.forward.parameters()]
    parts = [task.observation, task.weight, task.latent, *operator]
    return fingerprint(torch.cat([part.flatten().float() for part in parts if part is not None]))
