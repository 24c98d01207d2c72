"""Peak memory of a fit against the estimate that is printed before it starts (CPU, Linux and macOS).

    python benchmarks/memory.py

Each case runs in a process of its own; the peak is its largest resident set during three steps, less that before the network
was made.
"""

import argparse
import multiprocessing
import resource
import sys
from multiprocessing.connection import Connection

import torch

import hybrid_dip as hd
from hybrid_dip import presets
from hybrid_dip.estimate import memory_of_a_step

CASES = [
    ("quick", 128),
    ("quick", 256),
    ("quick", 512),
    ("quick", 1024),
    ("original", 128),
    ("original", 256),
    ("original", 512),
]


def peak() -> int:
    """Largest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(preset: str, side: int, answer: Connection) -> None:
    """Run three steps and send (estimate, measured)."""
    task = hd.tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)
    recipe = {"quick": presets.quick, "original": presets.original}[preset](task)
    # a small fit first, so that what torch itself allocates once is not counted
    small = hd.tasks.denoise(torch.rand(1, 3, 32, 32), sigma=0.1)
    hd.restore(small, preset=preset, steps=2, runs=1, device="cpu")
    before = peak()
    hd.restore(task, preset=recipe, steps=3, runs=1, device="cpu")
    answer.send((memory_of_a_step(task, recipe), peak() - before))


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| preset | size | estimated (MiB) | measured (MiB) | estimated / measured |\n|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for preset, side in CASES:
        here, there = context.Pipe()
        process = context.Process(target=measure, args=(preset, side, there))
        process.start()
        estimated, measured = here.recv()
        process.join()
        mib = 2**20
        print(f"| {preset} | {side} | {estimated / mib:.0f} | {measured / mib:.0f} | {estimated / measured:.2f} |", flush=True)


if __name__ == "__main__":
    main()
