"""Tiles: are there seams, and does a large image stay within the memory that was meant for it?

    python benchmarks/tiles.py seams --images FILE... [--size 256 --tile 128 --preset quick --steps 400]
    python benchmarks/tiles.py seams --images FOUR FILES AS ONE --together --size 1024 --tile 544 --keep states
    python benchmarks/tiles.py memory [--size 4096 --memory 16 --preset quick fast]

``seams`` restores an image whole and in tiles, and prints PSNR where tiles overlap and where they do not, for both. A seam
would be a loss of the tiled image where tiles meet, beyond what the image itself makes of these places. Four photographs can
stand for a larger one: ``--together`` puts their centres side by side. With a folder ``--keep`` for the states of its fits the
same command goes on after an interruption. ``memory`` takes three steps of each tile of an image of noise, with tiles chosen
for so many GiB, and prints the peak of the process.
"""

import argparse
import hashlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip import degradations, tasks
from hybrid_dip.checkpoint import Checkpoint
from hybrid_dip.contracts import Task
from hybrid_dip.errors import one_sentence
from hybrid_dip.estimate import memory_of_a_step
from hybrid_dip.images import crop_to_centre, load_image
from hybrid_dip.recipe import Recipe
from hybrid_dip.restore import Result, RunHooks, resolve, restore
from hybrid_dip.tiling import Tiles, chosen, part, restore_tiled, tiles_of
from hybrid_dip.watching import Progress

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


def seams(images: list[tuple[str, Tensor]], side: int, preset: str, steps: int, keep: Path | None) -> list[str]:
    """A row an image: whole and tiled, where tiles meet and elsewhere, and what the tiles lose where they meet."""
    lines = ["| image | whole: meet, elsewhere | tiled: meet, elsewhere | lost where tiles meet |", "|---|---|---|---|"]
    for name, photograph in images:
        lines.append(seam(name, photograph, side, preset, steps, keep))
        print(lines[-1], file=sys.stderr)
    return lines


def seam(name: str, photograph: Tensor, side: int, preset: str, steps: int, keep: Path | None) -> str:
    """The row of one image."""
    case = degradations.noisy(photograph, sigma=25 / 255)
    task, clean = case.task, case.reference
    tiles = tiles_of(task, side)
    asked = hashlib.sha256(task.observation.numpy().tobytes() + f"{side} {preset} {steps}".encode()).hexdigest()[:12]

    def hooks(label: str) -> RunHooks:
        bar = Progress(steps, f"{name}, {label}", None)
        state = Checkpoint(keep / f"{asked} {label}.pt", SAVED_EVERY) if keep else None
        return RunHooks([bar], state, close=bar.close)

    def run(one: Task, around: Callable[[int], RunHooks]) -> Result:
        return restore(one, preset=preset, steps=steps, runs=1, device="cpu", hooks=around)

    whole = run(task, lambda _: hooks("whole")).image
    tiled = restore_tiled(task, tiles, run, lambda number, _: hooks(f"tile {number + 1} of {len(tiles.boxes)}")).image
    meet = where_tiles_meet(tiles)
    found = [[psnr(x, clean, where) for where in (meet, ~meet)] for x in (whole, tiled)]
    lost = (found[0][0] - found[0][1]) - (found[1][0] - found[1][1])
    cells = [f"{a:.2f}, {b:.2f} dB" for a, b in found]
    return f"| {name} | {cells[0]} | {cells[1]} | {lost:+.2f} dB |"


def memory(size: int, gib: float, presets: list[str]) -> list[str]:
    """A row a preset: the tiles, the estimate of a step, and the peak of the process."""
    lines = ["| preset | tiles | estimated (GiB) | peak of the process (GiB) | seconds a step |", "|---|---|---|---|---|"]
    task = tasks.denoise(torch.rand(1, 3, size, size), sigma=0.1)
    for preset in presets:

        def recipe_of(one: Task, preset: str = preset) -> Recipe:
            return resolve(preset, one)

        tiles = chosen("auto", task, recipe_of, torch.device("cpu"), free=int(gib * 2**30))
        assert tiles is not None
        tile = part(task, tiles.boxes[0])
        recipe = recipe_of(tile)
        started = time.perf_counter()

        def run(one: Task, hooks: object = None, recipe: Recipe = recipe) -> Result:
            return restore(one, preset=recipe, steps=3, runs=1, device="cpu")

        restore_tiled(task, tiles, run)
        pace = (time.perf_counter() - started) / (3 * len(tiles.boxes))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        estimated = memory_of_a_step(tile, recipe) / 2**30
        shape = f"{len(tiles.boxes)} of {tiles.boxes[0].width}x{tiles.boxes[0].height}"
        lines.append(f"| {preset} | {shape} | {estimated:.2f} | {peak:.2f} | {pace:.1f} |")
    return lines


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("seams")
    first.add_argument("--images", nargs="+", type=Path, required=True)
    first.add_argument("--together", action="store_true", help="of four images make one")
    first.add_argument("--size", type=int, default=256)
    first.add_argument("--tile", type=int, default=128)
    first.add_argument("--preset", default="quick")
    first.add_argument("--steps", type=int, default=400)
    first.add_argument("--keep", type=Path, help="folder of the fits' states, to go on from")
    second = commands.add_parser("memory")
    second.add_argument("--size", type=int, default=4096)
    second.add_argument("--memory", type=float, default=16)
    second.add_argument("--preset", nargs="+", default=["quick"])
    asked = parser.parse_args()
    if asked.command == "seams":
        made = photographs(asked.images, asked.size, asked.together)
        print("\n".join(seams(made, asked.tile, asked.preset, asked.steps, asked.keep)))
    else:
        print("\n".join(memory(asked.size, asked.memory, asked.preset)))


if __name__ == "__main__":
    with one_sentence("tiles.py"):
        main()
