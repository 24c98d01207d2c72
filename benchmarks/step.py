"""Seconds and memory of one step, by network, size, precision and how it is evaluated, and what bounds each part of it.

    python benchmarks/step.py                                  # the presets at 64 to 256 pixels
    python benchmarks/step.py --presets fast --sizes 64 128 256 512 1024
    python benchmarks/step.py --precision float32 bfloat16 --compile off on
    python benchmarks/step.py --device cuda --sizes 256 512 --precision float32 tf32 bfloat16 --graph off on
    python benchmarks/step.py --parts                          # what bounds the parts of a step
    python benchmarks/step.py --plain                          # the original's recipe, run plainly and by us, in turns

Steps are those of ``hybrid_dip.fitting.fit`` on a denoising task. Each row is measured in a process of its own, which also
measures the rate of a product of matrices; GFLOP are those of the network as it is written down, so that the share of that
rate tells how much a better way of computing it could still gain. "Slope" is log(seconds) against log(pixels) from the row
before: 1 is proportional.
"""

import argparse
import gc
import itertools
import math
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from plain import PlainFit
from torch.utils.flop_counter import FlopCounterMode

import hybrid_dip as hd
from hybrid_dip.contracts import Step
from hybrid_dip.errors import one_sentence
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN, PRECISIONS, Execution
from hybrid_dip.fitting.optimizers import FILTERS_MOVED
from hybrid_dip.networks.kernels import winograd
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import RunHooks, log_interval

WARM = 3
PARTS = {
    "convolutions": (
        "mkldnn_convolution",
        "_slow_conv2d_forward",
        "cudnn_convolution",
        "convolution_backward",
        "_slow_conv2d_backward",
        "mm",
        "bmm",
        "addmm_",
        "baddbmm",
        "baddbmm_",
        "_Convolution",
        "_ConvolutionBackward",
    ),
    "batch norm": (
        "native_batch_norm",
        "native_batch_norm_backward",
        "native_group_norm",
        "native_group_norm_backward",
        "cudnn_batch_norm",
        "cudnn_batch_norm_backward",
    ),
    "activations": ("leaky_relu_", "leaky_relu", "leaky_relu_backward", "sigmoid", "sigmoid_backward"),
    "padding": ("reflection_pad2d", "reflection_pad2d_backward", "reflection_pad3d", "constant_pad_nd"),
    "upsampling, concatenation": ("upsample_bilinear2d", "upsample_bilinear2d_backward", "cat"),
    "optimiser": ("_fused_adam_",),
    "random numbers": ("normal_",),
}
"""Part of a step -> the operations of torch that do it."""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    preset: str
    size: int
    execution: Execution
    device: str
    threads: int | None
    steps: int

    def restore(self, task: hd.Task, steps: int, watch: Callable[[Step], None] = lambda step: None) -> None:
        """Take some steps of one fit."""
        hooks = RunHooks(observers=[watch])
        hd.restore(
            task,
            preset=self.preset,
            steps=steps,
            runs=1,
            tile=0,
            device=self.device,
            execution=self.execution,
            log_every=log_interval(resolve(self.preset, task).steps),  # as in the whole fit
            hooks=lambda seed: hooks,
        )


def matrix_rate(device: torch.device) -> float:
    """FLOP a second of a product of 2048x2048 matrices in single precision, the best of some."""
    a, b = torch.randn(2048, 2048, device=device), torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(_seconds(lambda: a @ b, device) for _ in range(6))


def copy_rate(device: torch.device) -> float:
    """Bytes a second, read and written, of an element-wise operation on 32 MiB, the best of some."""
    a = torch.randn(2**23, device=device)
    b = torch.empty_like(a)
    return 2 * 4 * a.numel() / min(_seconds(lambda: torch.mul(a, 2, out=b), device) for _ in range(6))


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def work_of_a_step(task: hd.Task, recipe: Recipe) -> float:
    """GFLOP of the network, forward and backward, as it is written down."""
    network, z = prepare(task, recipe, seed=0)
    fewest, winograd.FEWEST_CHANNELS = winograd.FEWEST_CHANNELS, sys.maxsize
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(network(z).mean())
    winograd.FEWEST_CHANNELS = fewest
    return float(counter.get_total_flops()) / 1e9


def task_of(size: int) -> hd.Task:
    """Denoising of random pixels: what is in the image does not change the time."""
    return degradations.noisy(torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)), sigma=0.1).task


def peak(device: torch.device) -> int:
    """Most memory so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def held(device: torch.device) -> int:
    """Bytes in use now; on a GPU its peak begins anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def measure(setting: Setting) -> dict[str, Any]:
    """One row."""
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    device = devices.pick(setting.device)
    replace(setting, execution=PLAIN).restore(task_of(32), steps=2)  # what torch itself allocates once
    task = task_of(setting.size)
    before = held(device)
    stamps = [time.perf_counter()]

    def watch(step: Step) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    setting.restore(task, WARM + setting.steps, watch)
    taken = [after - earlier for earlier, after in itertools.pairwise(stamps)]
    memory = peak(device) - before
    rate = matrix_rate(device)  # afterwards, for its matrices would count
    work = work_of_a_step(task, resolve(setting.preset, task))
    seconds = statistics.median(taken[WARM:])
    return {
        "first": taken[0],
        "seconds": seconds,
        "memory": memory,
        "gflop": work,
        "share": 1e9 * work / seconds / rate,
        "threads": torch.get_num_threads(),
    }


def parts(setting: Setting) -> list[dict[str, Any]]:
    """Where the time of a step goes, and which rate each part comes near to."""
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    device = devices.pick(setting.device)
    task = task_of(setting.size)
    work = work_of_a_step(task, resolve(setting.preset, task))
    multiplied, copied = matrix_rate(device), copy_rate(device)
    setting.restore(task, WARM)
    with torch.profiler.profile(record_shapes=True) as profile:
        setting.restore(task, setting.steps)
    # On a GPU a kernel is an event, too, and its time is that of the operation that has asked for it.
    events = [one for one in profile.events() if one.device_type.name == "CPU"]

    def spent(event: Any) -> float:
        return float(event.self_cpu_time_total if device.type == "cpu" else event.self_device_time_total)

    rows, rest, total = [], 0.0, sum(spent(event) for event in events)
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    moved: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for event in events:
        part = part_of(event)
        if part is None:
            rest += spent(event)
            continue
        seconds[part] += spent(event) / 1e6
        sizes = [4 * math.prod(shape) for shape in event.input_shapes if shape] if moves(event) else []
        moved[part] += sum(sizes) + max(sizes, default=0)  # the result is about as large as the largest input
    for part in PARTS:
        if not seconds[part]:
            continue
        arithmetic = 1e9 * work * setting.steps / seconds[part] / multiplied if part == "convolutions" else 0.0
        traffic = moved[part] / seconds[part] / copied
        rows.append({"part": part, "time": 1e6 * seconds[part] / total, "arithmetic": arithmetic, "traffic": traffic})
    return [*rows, {"part": "everything else", "time": rest / total, "arithmetic": 0.0, "traffic": 0.0}]


_PART_OF = {name: part for part, names in PARTS.items() for name in names}
_WHOLE = {
    FILTERS_MOVED: "optimiser",
    "_Doubling": "upsampling, concatenation",
    "_DoublingBackward": "upsampling, concatenation",
    "_Padding": "padding",
    "_PaddingBackward": "padding",
}
"""What is made of operations that elsewhere belong to another part, or to none."""
_LOOKS = ("as_strided", "view", "detach", "empty", "empty_strided")
"""Operations that look at numbers, or make room for some, without moving any."""


def part_of(event: Any) -> str | None:
    """The part of a step that an operation belongs to; products of matrices are the optimiser's where it has asked for them."""
    around = event
    while around is not None:
        if around.name in _WHOLE:
            return _WHOLE[around.name]
        around = around.cpu_parent
    return _PART_OF.get(event.name.removeprefix("aten::"))


def moves(event: Any) -> bool:
    """Whether an operation reads and writes its numbers itself, rather than by others, or not at all."""
    name = event.name.removeprefix("aten::")
    return name in _PART_OF or not (event.cpu_children or name in _LOOKS)


def verdict(row: dict[str, Any]) -> str:
    """What bounds a part of a step."""
    if max(row["arithmetic"], row["traffic"]) < 0.2:
        return "neither: how it is computed, or the cost of a call"
    return "arithmetic" if row["arithmetic"] > row["traffic"] else "memory"


def block(setting: Setting | None, plain: Setting) -> float:
    """Seconds a step of the original's denoising recipe: as a setting says, or plainly."""
    if plain.threads is not None:
        torch.set_num_threads(plain.threads)
    device = devices.pick(plain.device)
    case = degradations.noisy(torch.rand(1, 3, plain.size, plain.size), sigma=0.1)
    if setting is None:
        return PlainFit(case, hd.presets.original(case.task), seed=0, device=device).seconds_per_step(plain.steps, WARM)
    stamps: list[float] = []

    def watch(step: Step) -> None:
        if step.index not in (WARM - 1, WARM + plain.steps - 1):
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    setting.restore(case.task, WARM + plain.steps, watch)
    return (stamps[-1] - stamps[0]) / plain.steps


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def print_steps(settings: Iterable[Setting]) -> None:
    """The table of seconds and memory."""
    print("| preset | size | evaluated in | device | threads | s a step | slope | MiB | GFLOP | of matrix rate | first (s) |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    before: tuple[Setting, float] | None = None
    for setting in settings:
        row = alone(measure, setting)
        slope = ""
        if before is not None and replace(before[0], size=setting.size) == setting:
            slope = f"{math.log(row['seconds'] / before[1]) / math.log(setting.size**2 / before[0].size ** 2):.2f}"
        before = (setting, row["seconds"])
        print(
            f"| {setting.preset} | {setting.size} | {setting.execution} | {setting.device} "
            f"| {row['threads']} | {row['seconds']:.4f} | {slope} | {row['memory'] / 2**20:.0f} | {row['gflop']:.1f} "
            f"| {row['share']:.2f} | {row['first']:.1f} |",
            flush=True,
        )


def print_parts(settings: Iterable[Setting]) -> None:
    """The table of what bounds what."""
    print("| preset | size | part | of the time | of the matrix rate | of the copy rate | bound by |")
    print("|---|---|---|---|---|---|---|")
    for setting in settings:
        for row in alone(parts, setting):
            print(
                f"| {setting.preset} | {setting.size} | {row['part']} | {row['time']:.2f} | {row['arithmetic']:.2f} "
                f"| {row['traffic']:.2f} | {verdict(row) if row['traffic'] else ''} |",
                flush=True,
            )


def print_plain(settings: Iterable[Setting], rounds: int) -> None:
    """The original's recipe plainly and by us, in turns."""
    print("| size | evaluated in | plainly (s a step) | by us (s a step) | ratio (of each pair) |\n|---|---|---|---|---|")
    for setting in settings:
        pairs = [tuple(alone(block, ours, setting) for ours in (None, setting)) for _ in range(rounds)]
        plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(p / o for p, o in pairs)
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"| {setting.size} | {setting.execution} | {plain:.4f} | {ours:.4f} | {statistics.median(ratios):.2f} ({listed}) |",
            flush=True,
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["original", "quick", "fast"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--precision", nargs="+", default=["float32"], choices=PRECISIONS)
    parser.add_argument("--compile", nargs="+", default=["off"], choices=["off", "on"])
    parser.add_argument("--graph", nargs="+", default=["off"], choices=["off", "on"], help="CUDA only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    parser.add_argument("--steps", type=int, default=10, help="timed in each row")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of --plain")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--parts", action="store_true", help="what bounds the parts of a step")
    kind.add_argument("--plain", action="store_true", help="the original's recipe, run plainly and by us")
    asked = parser.parse_args()
    settings = [
        Setting(
            preset,
            size,
            Execution(precision, compiled == "on", graphed=graph == "on"),
            asked.device,
            asked.threads,
            asked.steps,
        )
        for preset in (["original"] if asked.plain else asked.presets)
        for precision in asked.precision
        for compiled in asked.compile
        for graph in asked.graph
        for size in asked.sizes
    ]
    if asked.plain:
        print_plain(settings, asked.rounds)
    else:
        (print_parts if asked.parts else print_steps)(settings)


if __name__ == "__main__":
    with one_sentence("step.py"):
        main()
