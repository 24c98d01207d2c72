"""Peak memory of a fit against the estimate that is printed before it starts (CPU, Linux and macOS).

    python benchmarks/memory.py

Each case runs in its own process. The peak is its largest resident set during three steps, less what it held right before.
"""

import argparse
import gc
import multiprocessing
import resource
import sys
from multiprocessing.connection import Connection

import psutil
import torch

import hybrid_dip as hd
from hybrid_dip.errors import one_sentence
from hybrid_dip.execution.precision import Execution
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import resolve

CASES = [
    ("quick", 128, False),
    ("quick", 256, False),
    ("quick", 512, False),
    ("quick", 1024, False),
    ("quick", 512, True),
    ("quick", 1024, True),
    ("fast", 512, False),
    ("fast", 1024, False),
    ("fast", 512, True),
    ("fast", 1024, True),
    ("original", 128, False),
    ("original", 256, False),
    ("original", 512, False),
    ("original", 512, True),
]
"""Preset, side in pixels, whether activations are computed again."""


def peak() -> int:
    """Largest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(preset: str, side: int, recomputed: bool, answer: Connection) -> None:
    """Run three steps and send (estimated bytes, measured bytes, seconds per step)."""
    task = hd.tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)
    recipe = resolve(preset, task)
    # A small fit first: torch itself allocates some memory once, which is not to be counted.
    small = hd.tasks.denoise(torch.rand(1, 3, 32, 32), sigma=0.1)
    hd.restore(small, preset=preset, steps=2, runs=1, device="cpu", progress=False)
    gc.collect()
    before = psutil.Process().memory_info().rss
    execution = Execution(recomputed=recomputed)
    result = hd.restore(task, preset=recipe, steps=3, runs=1, tile=0, device="cpu", execution=execution, progress=False)
    answer.send((memory_of_a_step(task, recipe, recomputed=recomputed), peak() - before, result.seconds / 3))


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| preset | size | activations | estimated (MiB) | measured (MiB) | estimated / measured | seconds per step |")
    print("|---" * 7 + "|")
    context = multiprocessing.get_context("spawn")
    for preset, side, recomputed in CASES:
        here, there = context.Pipe()
        process = context.Process(target=measure, args=(preset, side, recomputed, there))
        process.start()
        there.close()
        try:
            estimated, measured, seconds = here.recv()
        except EOFError:
            raise SystemExit(
                f"The fit of {preset} at {side}x{side} pixels died; there may be too little memory for it."
            ) from None
        process.join()
        mib = 2**20
        cells = [preset, str(side), "recomputed" if recomputed else "kept", f"{estimated / mib:.0f}", f"{measured / mib:.0f}"]
        print("| " + " | ".join([*cells, f"{estimated / measured:.2f}", f"{seconds:.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    with one_sentence("memory.py"):
        main()
