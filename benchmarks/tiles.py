"""Tiles: are there seams, and does a large image stay within the memory that was meant for it?

    python benchmarks/tiles.py seams --images FILE... [--task denoise --size 256 --tile 128 --preset quick --steps 400]
    python benchmarks/tiles.py seams --images FOUR FILES AS ONE --together --size 1024 --tile 544 --keep states
    python benchmarks/tiles.py memory [--size 4096 --memory 16 --preset quick]

``seams`` restores an image whole and in tiles, and prints PSNR where tiles overlap and where they do not, for both. A seam
would be a loss of the tiled image where tiles meet, beyond what the image itself makes of these places. Without --tile,
--steps and --runs these are the preset's own, and the row says whether its tiles are worth their time. Four photographs can
stand for a larger one: ``--together`` puts their centres side by side. With a folder ``--keep`` for the states of its fits the
same command goes on after an interruption. ``memory`` takes three steps of each tile of an image of noise, with tiles chosen
for so many GiB, and prints the peak of the process.
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
from hybrid_dip.fitting.observers import Progress
from hybrid_dip.images.files import crop_to_centre, load_image
from hybrid_dip.problem import tasks
from hybrid_dip.problem.tiles import Box, Tiles, part
from hybrid_dip.restoring.estimate import memory_of_a_step, side_of_tiles
from hybrid_dip.restoring.plan import planned
from hybrid_dip.restoring.restore import Result, RunHooks, restore

SAVED_EVERY = 20
"""Steps between two states, at least."""


def where_tiles_meet(tiles: Tiles) -> Tensor:
    """True where more than one tile has a say, (H, W)."""
    count = torch.zeros(1, 1, tiles.height, tiles.width)
    for box in tiles.boxes:
        box.of(count).add_(1)
    return count[0, 0] > 1


def psnr(x: Tensor, clean: Tensor, where: Tensor) -> float:
    """Over some of the pixels, in dB."""
    return float(-10 * (x - clean)[..., where].square().mean().log10())


def photographs(paths: list[Path], size: int, together: bool) -> list[tuple[str, Tensor]]:
    """Names, and the centres of the images, or of all four side by side."""
    side = size // 2 if together else size
    parts = [(path.stem, crop_to_centre(load_image(path)[:, :3], side)) for path in paths]
    small = [name for name, part in parts if min(part.shape[-2:]) < side]
    if small:
        raise SystemExit(f"{small[0]} has less than {side}x{side} pixels; give a larger image, or a smaller --size.")
    if not together:
        return parts
    if len(parts) != 4:
        raise SystemExit(f"--together takes four images, got {len(parts)}.")
    colours = [part.expand(1, 3, -1, -1) for _, part in parts]
    rows = [torch.cat(colours[:2], -1), torch.cat(colours[2:], -1)]
    return [(", ".join(name for name, _ in parts), torch.cat(rows, -2))]


@dataclass(frozen=True)
class Asked:
    """How an image is fitted, whole and in tiles.

    Attributes:
        task: Name of :data:`TASKS`.
        side: Of the tiles, at most; None for the preset's own.
        preset: Its SPEC.
        steps: Of each fit; None for the preset's own.
        runs: Fits that are averaged; None for the preset's own.
        keep: Folder of the fits' states, or None.
    """

    task: str
    side: int | None
    preset: str
    steps: int | None
    runs: int | None
    keep: Path | None


def seams(images: list[tuple[str, Tensor]], asked: Asked) -> list[str]:
    """A row an image: whole and tiled, where tiles meet and elsewhere, and what the tiles lose where they meet."""
    lines = [
        "| image | tiles | whole: meet, elsewhere (s) | tiled: meet, elsewhere (s) | lost where tiles meet |",
        "|---|---|---|---|---|",
    ]
    for name, photograph in images:
        lines.append(seam(name, photograph, asked))
        print(lines[-1], file=sys.stderr)
    return lines


def seam(name: str, photograph: Tensor, asked: Asked) -> str:
    """The row of one image."""
    case = TASKS[asked.task](photograph)
    task, clean = case.task, case.reference
    _, tiles = planned(task, asked.preset, asked.side)
    if tiles is None:
        raise SystemExit(f"{name} is fitted as a whole by {asked.preset}; give a smaller --tile, or a larger --size.")
    made = f"{asked.side} {asked.preset} {asked.steps} {asked.runs}"
    mark = hashlib.sha256(task.observation.numpy().tobytes() + made.encode()).hexdigest()[:12]

    def fitted(side: int | None) -> Result:
        recipe, tiles = planned(task, asked.preset, side)

        def around(label: str) -> RunHooks:
            bar = Progress(asked.steps or recipe.steps, f"{name}, {label}", None)
            state = Checkpoint(asked.keep / f"{mark} {label}.pt", SAVED_EVERY) if asked.keep else None
            return RunHooks([bar], state, close=bar.close)

        def hooks(seed: int) -> RunHooks:
            if tiles is None:
                return around(f"whole, seed {seed}")
            return RunHooks(tile=lambda number: around(f"seed {seed}, tile {number + 1} of {len(tiles.boxes)}"))

        return restore(task, preset=asked.preset, steps=asked.steps, runs=asked.runs, tile=side, device="cpu", hooks=hooks)

    whole, tiled = fitted(0), fitted(asked.side)
    meet = where_tiles_meet(tiles)
    found = [[psnr(one.image, clean, where) for where in (meet, ~meet)] for one in (whole, tiled)]
    lost = (found[0][0] - found[0][1]) - (found[1][0] - found[1][1])
    cells = [f"{a:.2f}, {b:.2f} dB ({one.seconds:.0f})" for (a, b), one in zip(found, (whole, tiled), strict=True)]
    shape = f"{len(tiles.boxes)} of {tiles.boxes[0].width}x{tiles.boxes[0].height}"
    return f"| {name} | {shape} | {cells[0]} | {cells[1]} | {lost:+.2f} dB |"


def memory(size: int, gib: float, preset: str) -> list[str]:
    """A row: the tiles, the estimate of a step, and the peak of the process."""
    task = tasks.denoise(torch.rand(1, 3, size, size), sigma=0.1)
    side = side_of_tiles("auto", task, preset, torch.device("cpu"), free=int(gib * 2**30))
    recipe, tiles = planned(task, preset, side)
    boxes = [Box(0, 0, size, size)] if tiles is None else tiles.boxes
    tile = part(task, boxes[0])
    started = time.perf_counter()
    restore(task, preset=recipe, steps=3, runs=1, tile=recipe.tile or 0, device="cpu")
    pace = (time.perf_counter() - started) / (3 * len(boxes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    estimated = memory_of_a_step(tile, recipe) / 2**30
    shape = f"{len(boxes)} of {boxes[0].width}x{boxes[0].height}"
    return [
        "| preset | tiles | estimated (GiB) | peak of the process (GiB) | seconds a step |",
        "|---|---|---|---|---|",
        f"| {preset} | {shape} | {estimated:.2f} | {peak:.2f} | {pace:.1f} |",
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("seams")
    first.add_argument("--images", nargs="+", type=Path, required=True)
    first.add_argument("--together", action="store_true", help="of four images make one")
    first.add_argument("--task", choices=TASKS, default="denoise")
    first.add_argument("--size", type=int, default=256)
    first.add_argument("--tile", type=int, help="side in pixels, at most")
    first.add_argument("--preset", default="quick")
    first.add_argument("--steps", type=int, help="of each fit")
    first.add_argument("--runs", type=int, help="fits that are averaged")
    first.add_argument("--keep", type=Path, help="folder of the fits' states, to go on from")
    second = commands.add_parser("memory")
    second.add_argument("--size", type=int, default=4096)
    second.add_argument("--memory", type=float, default=16)
    second.add_argument("--preset", default="quick", help="one, for the peak is that of the process")
    asked = parser.parse_args()
    if asked.command == "seams":
        made = photographs(asked.images, asked.size, asked.together)
        how = Asked(asked.task, asked.tile, asked.preset, asked.steps, asked.runs, asked.keep)
        print("\n".join(seams(made, how)))
    else:
        print("\n".join(memory(asked.size, asked.memory, asked.preset)))


if __name__ == "__main__":
    with one_sentence("tiles.py"):
        main()
