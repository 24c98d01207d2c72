"""How many images an hour are restored by one process, and by several at once?

    python benchmarks/many.py --images FILE... [--size 256 --count 8 --preset fast --steps 300 --workers 1 2]
    python benchmarks/many.py --images FILE... --device cuda --workers 1 2 4 8 --execution --precision bfloat16 --graph on

Cuts ``--count`` images of one size out of the files and adds noise. Then ``hybrid-dip restore FOLDER`` restores them, with each
number of processes in turn. On the CPU the processes share the cores, on a GPU they share the GPU. The time is that of the
whole command, with its start. All rows fit the images with the same seeds; the last column is the largest difference in PSNR
from the first row.
"""

import argparse
import csv
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from hybrid_dip.errors import one_sentence
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.problem import degradations

SIGMA = 25
"""Noise level on the 0..255 scale."""


def cut(images: list[Path], size: int, count: int, place: Path) -> None:
    """Cut square parts out of the images, row by row, and save each clean and with noise.

    Args:
        images: Clean images.
        size: Side of a part in pixels.
        count: Number of parts.
        place: Folder in which ``clean`` and ``noisy`` are made.

    Raises:
        SystemExit: The images are too small for this many parts.
    """
    for name in ("clean", "noisy"):
        (place / name).mkdir()
    parts = []
    for path in images:
        whole = load_image(path)[:, :3]
        corners = itertools.product(range(0, whole.shape[-2] - size + 1, size), range(0, whole.shape[-1] - size + 1, size))
        parts += [whole[..., top : top + size, left : left + size] for top, left in corners]
    if len(parts) < count:
        raise SystemExit(f"--count is {count}, but these images hold {len(parts)} parts of {size}x{size}; give more images.")
    for number, clean in enumerate(parts[:count]):
        case = degradations.noisy(clean, sigma=SIGMA / 255, seed=number)
        save_image(clean, place / "clean" / f"{number}.png")
        save_image(case.task.observation, place / "noisy" / f"{number}.png")


def restore_folder(place: Path, out: Path, options: list[str]) -> tuple[float, list[float]]:
    """Run the command on the folder; return its seconds and the PSNR of each image in dB."""
    command = [
        *(sys.executable, "-m", "hybrid_dip.cli.app", "restore", str(place / "noisy"), "-o", str(out), "--quiet"),
        *("--reference", str(place / "clean"), "--task", "denoise", "--sigma", str(SIGMA), *options),
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    with (out / "results.csv").open() as rows:
        return seconds, [float(row["psnr"]) for row in csv.DictReader(rows)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=Path, required=True, help="clean images")
    parser.add_argument("--size", type=int, default=256, help="side of each part in pixels")
    parser.add_argument("--count", type=int, default=8, help="number of parts")
    parser.add_argument("--preset", default="fast", help="preset of the fits")
    parser.add_argument("--steps", type=int, default=None, help="steps of each fit; by default those of the preset")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="numbers of processes to try")
    parser.add_argument("--device", default="cpu", help="device of the fits")
    parser.add_argument("--execution", nargs=argparse.REMAINDER, default=[], help="further options of hybrid-dip restore")
    arguments = parser.parse_args()
    common = ["--preset", arguments.preset, "--device", arguments.device, *arguments.execution]
    common += [] if arguments.steps is None else ["--steps", str(arguments.steps)]
    print("| device | processes | threads of each | images an hour | ratio to the first | largest difference in PSNR (dB) |")
    print("|---|---|---|---|---|---|")
    first: tuple[float, list[float]] | None = None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cut(arguments.images, arguments.size, arguments.count, place)
        for workers in arguments.workers:
            threads = max(1, torch.get_num_threads() // workers)
            options = [*common, "--workers", str(workers), "--threads", str(threads)]
            seconds, scores = restore_folder(place, place / f"by-{workers}", options)
            first = first or (seconds, scores)
            difference = max(abs(score - other) for score, other in zip(scores, first[1], strict=True))
            print(
                f"| {arguments.device} | {workers} | {threads} | {3600 * arguments.count / seconds:.1f} "
                f"| {first[0] / seconds:.2f} | {difference:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    with one_sentence("many.py"):
        main()
