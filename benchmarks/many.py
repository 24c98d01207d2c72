"""Many images at once: how many are restored in an hour by so many processes?

    python benchmarks/many.py --images FILE... [--size 256 --count 8 --preset fast --steps 300 --workers 1 2]
    python benchmarks/many.py --images FILE... --device cuda --workers 1 2 4 8 --execution --precision bfloat16 --graph on

Cuts ``--count`` degraded images of one size out of the files, and has ``hybrid-dip restore FOLDER`` restore them, with each
number of processes in turn: on the CPU they share the cores, on a GPU the GPU. The time is that of the whole command, with
what it takes to start. Restored one by one or some at a time the images are fitted by the same seeds; the last column says how
far their PSNR is apart from that of the first row, at most.
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


def cut(images: list[Path], size: int, count: int, place: Path) -> None:
    """Save clean and degraded parts of images, row after row of each in turn."""
    for name in ("clean", "noisy"):
        (place / name).mkdir()
    parts = []
    for path in images:
        whole = load_image(path)[:, :3]
        corners = itertools.product(range(0, whole.shape[-2] - size + 1, size), range(0, whole.shape[-1] - size + 1, size))
        parts += [whole[..., top : top + size, left : left + size] for top, left in corners]
    if len(parts) < count:
        raise SystemExit(
            f"These images hold {len(parts)} parts of {size}x{size} pixels, {count} were asked for; give more images."
        )
    for number, clean in enumerate(parts[:count]):
        case = degradations.noisy(clean, sigma=SIGMA / 255, seed=number)
        save_image(clean, place / "clean" / f"{number}.png")
        save_image(case.task.observation, place / "noisy" / f"{number}.png")


def restored(place: Path, out: Path, options: list[str]) -> tuple[float, list[float]]:
    """Seconds of the command, and the PSNR of each image."""
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
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=Path, required=True, help="clean images")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--steps", type=int, default=None, help="instead of the preset's own number")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--execution", nargs=argparse.REMAINDER, default=[], help="further options of hybrid-dip restore")
    asked = parser.parse_args()
    common = ["--preset", asked.preset, "--device", asked.device, *asked.execution]
    common += [] if asked.steps is None else ["--steps", str(asked.steps)]
    print("| device | processes | threads of each | images an hour | ratio to the first | PSNR apart (dB) |")
    print("|---|---|---|---|---|---|")
    first: tuple[float, list[float]] | None = None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cut(asked.images, asked.size, asked.count, place)
        for workers in asked.workers:
            threads = max(1, torch.get_num_threads() // workers)
            options = [*common, "--workers", str(workers), "--threads", str(threads)]
            found = restored(place, place / f"by-{workers}", options)
            first = first or found
            apart = max(abs(one - other) for one, other in zip(found[1], first[1], strict=True))
            print(
                f"| {asked.device} | {workers} | {threads} | {3600 * asked.count / found[0]:.1f} | {first[0] / found[0]:.2f} "
                f"| {apart:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    with one_sentence("many.py"):
        main()
