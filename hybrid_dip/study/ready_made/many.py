"""Many degraded images restored in one call: a study of one arm, whose restored images are put side by side."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.images.reading import read_picture
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.restoring.side import side_of_tiles
from hybrid_dip.restoring.writer import ResultWriter
from hybrid_dip.study.describe.plan import Plan, Run
from hybrid_dip.study.describe.sections import ImageEntry
from hybrid_dip.study.describe.sources import as_label, expand
from hybrid_dip.study.running.forecast import PROCESS
from hybrid_dip.study.running.machine import gpu_names, worker_count
from hybrid_dip.study.running.store import Store

NAME = "restored"
"""Name of the study and of its arm."""


def many_content(
    folder: Path, references: Path | None, task: Mapping[str, Any], arm: Mapping[str, Any], crop: int | None
) -> dict[str, Any]:
    """The study of ``hybrid-dip restore FOLDER``.

    Args:
        folder: Folder of the degraded images.
        references: Folder of the clean images, which have the same names up to the suffix; or None.
        task: The task as in a study file.
        arm: The arm as in a study file, without its name.
        crop: Side of the centre crop, or None.

    Returns:
        A study's content, without threads.

    Raises:
        FileNotFoundError: There is no such folder.
        SettingsError: A folder has no images, or an image has no reference.
    """
    sources = expand([ImageEntry(path=str(folder.absolute()))], Path(), None)
    strange = [source.name for source in sources if source.path.encode(errors="ignore").decode() != source.path]
    if strange:
        raise SettingsError(f"{folder} has file names that are not UTF-8 ({', '.join(map(ascii, strange))}); rename them.")
    images: list[dict[str, Any]] = [{"path": source.path, "name": source.name} for source in sources]
    if references is not None:
        if not references.is_dir():
            raise SettingsError(f"For a folder of images --reference is a folder as well; {references} is none.")
        clean = {source.name: source.path for source in expand([ImageEntry(path=str(references.absolute()))], Path(), None)}
        stems = {
            source.name: as_label(Path(source.path).stem) for source in sources
        }  # a.png and a.jpg may have one clean image
        missing = [name for name, stem in stems.items() if name not in clean and stem not in clean]
        if missing:
            raise SettingsError(f"{references} has no clean image for {', '.join(missing)}: the same names are needed.")
        images = [{**image, "reference": clean.get(image["name"]) or clean[stems[image["name"]]]} for image in images]
    content: dict[str, Any] = {
        "name": NAME,
        "metrics": [] if references is None else ["psnr", "ssim"],
        "images": images,
        "tasks": [dict(task)],
        "arms": [{"name": NAME, **arm}],
    }
    return content if crop is None else {**content, "crop": crop}


def processes(plan: Plan, workers: int | None) -> int:
    """How many images of a folder are restored at a time.

    Args:
        plan: The study of :func:`many_content`.
        workers: The number that the user asked for, or None.

    Returns:
        That number; or as many as keep all cores or GPUs busy and, on the CPU, fit into memory together; at least one.

    Raises:
        SettingsError: Fewer than one were asked for.
    """
    count, run = worker_count(workers, plan), _largest(plan)
    if workers is None and run.device == "cpu":
        task = run.subject().task
        recipe, _, _ = run.method.build(task)
        needed = memory_of_a_step(of_one_fit(task, tiles_for(task, recipe)), recipe)
        count = max(1, min(count, devices.free_memory(devices.pick(run.device)) // (needed + PROCESS)))
    return min(count, len(plan.unique))


def side_for_all(plan: Plan, count: int) -> int | None:
    """The tiles in which the images of a folder fit into memory.

    Args:
        plan: The study of :func:`many_content`.
        count: Number of images that are restored at a time.

    Returns:
        The side of the tiles for the largest image as :func:`hybrid_dip.restoring.side.side_of_tiles` has it: None for
        the recipe's own. Images no larger than a tile are fitted as a whole.
    """
    run = _largest(plan)
    device = devices.pick(run.device)
    task = run.subject().task
    terms = run.method.build(task)[1]
    together = math.ceil(count / max(1, len(gpu_names(run.device))))
    free = devices.free_memory(device) // together - (PROCESS if device.type == "cpu" else 0)
    return side_of_tiles("auto", task, run.method.recipe, device, terms, free=free)


def _largest(plan: Plan) -> Run:
    return max(plan.runs, key=lambda run: run.pixels)


def put_together(plan: Plan, store: Store) -> list[Path]:
    """Write DIR/NAME.png of each restored image, with the alpha channel and the bit depth of the degraded one.

    Args:
        plan: Of :func:`many_content`.
        store: The study's folder.

    Returns:
        The files, of the runs that are done well.

    Raises:
        StorageError: They cannot be written.
    """
    there = store.records(plan.unique)
    written = []
    for run in plan.runs:
        if run.key not in there or there[run.key]["error"]:
            continue
        picture = read_picture(Path(run.source.path))
        if picture.alpha is not None:
            picture = replace(picture, alpha=run.source.cut(picture.alpha))
        task = run.subject().task
        image, writer = task.finish(store.output(run.key)), ResultWriter(store.path, task)
        with store.writing():
            writer.save(run.image, image, picture)
        written.append(store.path / f"{run.image}.png")
    return written
