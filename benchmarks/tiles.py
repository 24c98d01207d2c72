"""Tiles: do they leave seams, and does a large image stay within the memory given to it?

    python benchmarks/tiles.py seams --images FILE... [--task denoise --size 256 --tile 128 --preset quick --steps 400]
    python benchmarks/tiles.py seams --images FOUR FILES --together --size 1024 --tile 544 --keep states
    python benchmarks/tiles.py memory [--size 4096 --memory 16 --preset quick]

``seams`` restores an image whole and in tiles. For both it prints the PSNR where tiles overlap and the PSNR elsewhere. A seam
would be a loss of the tiled image where tiles meet that the whole image does not have there. Without --tile, --steps and
--runs the preset's own are taken. ``--together`` puts the centres of four photographs side by side as one large image. With
``--keep FOLDER`` the states of the fits are saved there, and the same command resumes after an interruption.

``memory`` takes three steps of each tile of an image of noise, with tiles chosen for the given memory, and prints the peak of
the process.
"""

import argparse
import hashlib
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from time_to_quality import TASKS
from torch import Tensor

from hybrid_dip.errors import one_sentence
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.images.files import crop_to_centre, load_image
from hybrid_dip.problem import tasks
from hybrid_dip.problem.tiles import Box, Tiles, part
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import recipe_and_tiles
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result
from hybrid_dip.restoring.side import side_of_tiles

SAVED_EVERY = 20
"""Fewest steps between two saved states."""


def where_tiles_meet(tiles: Tiles) -> Tensor:
    """True where tiles overlap, (H, W)."""
    count = torch.zeros(1, 1, tiles.height, tiles.width)
    for box in tiles.boxes:
        box.of(count).add_(1)
    return count[0, 0] > 1


def psnr(x: Tensor, clean: Tensor, where: Tensor) -> float:
    """PSNR in dB over the pixels where ``where`` is true."""
    return float(-10 * (x - clean)[..., where].square().mean().log10())


def photographs(paths: list[Path], size: int, together: bool) -> list[tuple[str, Tensor]]:
    """Names and centres of the images, or one image of all four side by side."""
    side = size // 2 if together else size
    parts = [(path.stem, crop_to_centre(load_image(path)[:, :3], side)) for path in paths]
    small = [name for name, part in parts if min(part.shape[-2:]) < side]
    if small:
        raise SystemExit(f"{small[0]} is smaller than {side}x{side} pixels; give a larger image or a smaller --size.")
    if not together:
        return parts
    if len(parts) != 4:
        raise SystemExit(f"--together takes four images, got {len(parts)}.")
    colours = [part.expand(1, 3, -1, -1) for _, part in parts]
    rows = [torch.cat(colours[:2], -1), torch.cat(colours[2:], -1)]
    return [(", ".join(name for name, _ in parts), torch.cat(rows, -2))]


@dataclass(frozen=True)
class Setting:
    """How an image is fitted, whole and in tiles.

    Attributes:
        task: Name in :data:`TASKS`.
        side: Largest side of a tile in pixels; None for the preset's own.
        preset: SPEC of the preset.
        steps: Steps of each fit; None for the preset's own.
        runs: Number of fits that are averaged; None for the preset's own.
        keep: Folder for the states of the fits, or None.
    """

    task: str
    side: int | None
    preset: str
    steps: int | None
    runs: int | None
    keep: Path | None


def seams(images: list[tuple[str, Tensor]], setting: Setting) -> list[str]:
    """The table: whole and in tiles, where tiles meet and elsewhere, and what is lost where they meet."""
    lines = [
        "| image | tiles | whole: meet, elsewhere (s) | tiled: meet, elsewhere (s) | lost where tiles meet |",
        "|---|---|---|---|---|",
    ]
    for name, photograph in images:
        lines.append(seam(name, photograph, setting))
        print(lines[-1], file=sys.stderr)
    return lines


def seam(name: str, photograph: Tensor, setting: Setting) -> str:
    """The row for one image."""
    case = TASKS[setting.task](photograph)
    task, clean = case.task, case.reference
    _, tiles = recipe_and_tiles(task, setting.preset, setting.side)
    if tiles is None:
        raise SystemExit(f"{setting.preset} fits {name} as a whole; give a smaller --tile or a larger --size.")
    settings = f"{setting.side} {setting.preset} {setting.steps} {setting.runs}"
    mark = hashlib.sha256(task.observation.numpy().tobytes() + settings.encode()).hexdigest()[:12]

    def fit(side: int | None) -> Result:
        _, tiles = recipe_and_tiles(task, setting.preset, side)

        def hooks(fit: FitName) -> FitHooks:
            label = f"whole, seed {fit.seed}"
            if tiles is not None and fit.tile is not None:
                label = f"seed {fit.seed}, tile {fit.tile + 1} of {len(tiles.boxes)}"
            state = Checkpoint(setting.keep / f"{mark} {label}.pt", SAVED_EVERY) if setting.keep else None
            return FitHooks(checkpoint=state)

        return restore(
            task,
            preset=setting.preset,
            steps=setting.steps,
            runs=setting.runs,
            tile=side,
            device="cpu",
            progress=name,
            hooks=hooks,
        )

    whole, tiled = fit(0), fit(setting.side)
    meet = where_tiles_meet(tiles)
    scores = [[psnr(result.image, clean, where) for where in (meet, ~meet)] for result in (whole, tiled)]
    lost = (scores[0][0] - scores[0][1]) - (scores[1][0] - scores[1][1])
    cells = [f"{a:.2f}, {b:.2f} dB ({result.seconds:.0f})" for (a, b), result in zip(scores, (whole, tiled), strict=True)]
    shape = f"{len(tiles.boxes)} of {tiles.boxes[0].width}x{tiles.boxes[0].height}"
    return f"| {name} | {shape} | {cells[0]} | {cells[1]} | {lost:+.2f} dB |"


def memory(size: int, gib: float, preset: str) -> list[str]:
    """The table: the tiles, the estimated memory of a step, and the peak of the process."""
    task = tasks.denoise(torch.rand(1, 3, size, size), sigma=0.1)
    side = side_of_tiles("auto", task, preset, torch.device("cpu"), free=int(gib * 2**30))
    recipe, tiles = recipe_and_tiles(task, preset, side)
    boxes = [Box(0, 0, size, size)] if tiles is None else tiles.boxes
    tile = part(task, boxes[0])
    started = time.perf_counter()
    restore(task, preset=recipe, steps=3, runs=1, tile=recipe.tile or 0, device="cpu", progress=False)
    seconds = (time.perf_counter() - started) / (3 * len(boxes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    estimated = memory_of_a_step(tile, recipe) / 2**30
    shape = f"{len(boxes)} of {boxes[0].width}x{boxes[0].height}"
    return [
        "| preset | tiles | estimated (GiB) | peak of the process (GiB) | seconds per step |",
        "|---|---|---|---|---|",
        f"| {preset} | {shape} | {estimated:.2f} | {peak:.2f} | {seconds:.1f} |",
    ]


def main() -> None:
    """Print the table that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("seams", help="restore images whole and in tiles")
    first.add_argument("--images", nargs="+", type=Path, required=True, help="clean images")
    first.add_argument("--together", action="store_true", help="put four images side by side as one")
    first.add_argument("--task", choices=TASKS, default="denoise", help="task of the fits")
    first.add_argument("--size", type=int, default=256, help="side of the centre crop in pixels")
    first.add_argument("--tile", type=int, help="largest side of a tile in pixels")
    first.add_argument("--preset", default="quick", help="preset of the fits")
    first.add_argument("--steps", type=int, help="steps of each fit")
    first.add_argument("--runs", type=int, help="number of fits that are averaged")
    first.add_argument("--keep", type=Path, help="folder for the states of the fits, to resume from")
    second = commands.add_parser("memory", help="measure the peak memory of a large image in tiles")
    second.add_argument("--size", type=int, default=4096, help="side of the image in pixels")
    second.add_argument("--memory", type=float, default=16, help="memory that the tiles are chosen for, in GiB")
    second.add_argument("--preset", default="quick", help="one preset; the peak is that of the whole process")
    arguments = parser.parse_args()
    if arguments.command == "seams":
        images = photographs(arguments.images, arguments.size, arguments.together)
        setting = Setting(arguments.task, arguments.tile, arguments.preset, arguments.steps, arguments.runs, arguments.keep)
        print("\n".join(seams(images, setting)))
    else:
        print("\n".join(memory(arguments.size, arguments.memory, arguments.preset)))


if __name__ == "__main__":
    with one_sentence("tiles.py"):
        main()
