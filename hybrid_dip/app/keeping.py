"""A picture that is kept: its file, the command that repeats it, and both with all that the command needs in one archive."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from hybrid_dip.app.asked import Asked
from hybrid_dip.app.iterates import Iterate
from hybrid_dip.app.run import Run
from hybrid_dip.restoring.longer import parts_over_all_steps
from hybrid_dip.stopping.selection import Selection


@dataclass(frozen=True, eq=False)
class Kept:
    """A picture that was kept.

    Attributes:
        label: Which one it is.
        image: The finished image, (1, C, H, W).
        command: The command that repeats it.
        note: Why the command does not repeat it exactly; "" where it does.
        picture: Its PNG file.
        archive: A zip file of the picture, the command, and the files that the command names.
    """

    label: str
    image: Tensor
    command: str
    note: str
    picture: Path
    archive: Path


def keep(run: Run, iterate: Iterate | None) -> Kept:
    """Keep an iterate, or the result.

    Args:
        run: The restoration that it is of.
        iterate: The iterate; None for the result, which must be there.

    Returns:
        The files, as the command writes them.

    Raises:
        StorageError: They cannot be written.
    """
    if iterate is None:
        assert run.result is not None
        label, image, asked, note = "result", run.result.image, run.asked, ""
    else:
        label, image = f"seed {iterate.seed}, step {iterate.step}", iterate.image
        asked, note = shorter(run, iterate)
    folder = run.folder / label.replace(", ", "-").replace(" ", "-")
    folder.mkdir(exist_ok=True)
    run.job.writer(folder).save("restored", image, run.job.picture)
    said = "".join(f"# {line}\n" for line in ("In the folder of the files that it names:", note) if line)
    archive = folder / "restored.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for path in [*folder.glob("restored.[pn]*"), *asked.files]:
            pack.write(path, path.name)
        pack.writestr("command.txt", f"{said}{asked.command()}\n")
    return Kept(label, image, asked.command(), note, folder / "restored.png", archive)


def shorter(run: Run, iterate: Iterate) -> tuple[Asked, str]:
    """The fit that ends at an iterate.

    Args:
        run: The restoration that the iterate is of.
        iterate: The iterate.

    Returns:
        What to ask for, and "". Where a shorter fit would have taken another course, the whole restoration, and why.
    """
    job, steps = run.job, iterate.step + 1
    parts = parts_over_all_steps(replace(job.recipe, steps=steps), [*job.terms, *job.recipe.terms], job.recipe.steps)
    parts += ["the tiles"] if job.tiles is not None else []
    parts += ["the choice of the step"] if isinstance(job.rule, Selection) else []
    parts += ["the refinement"] if job.recipe.refine is not None else []
    if parts:
        return run.asked, f"It repeats the whole fit: {' and '.join(parts)} would differ in one that ends at this iterate."
    return replace(run.asked, steps=steps, runs=1, seed=iterate.seed, stop="max_steps"), ""
