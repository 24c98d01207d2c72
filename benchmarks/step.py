"""Seconds and memory of one step, by network, size, dtype and compilation, and what bounds each part of it.

    python benchmarks/step.py                                  # the presets at 64 to 256 pixels
    python benchmarks/step.py --presets fast --sizes 64 128 256 512 1024
    python benchmarks/step.py --dtypes float32 bfloat16 --compile off on
    python benchmarks/step.py --parts                          # what bounds the parts of a step
    python benchmarks/step.py --plain                          # the original's recipe, run plainly and by us, in turns

Steps are those of ``hybrid_dip.fit`` on a denoising task. Each row is measured in a process of its own, which also measures
the rate of a product of matrices; GFLOP are those of the network as it is written down, so that the share of that rate tells
how much a better way of computing it could still gain. "Slope" is log(seconds) against log(pixels) from the row before: 1 is
proportional.
"""

import argparse
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

import torch
from plain import PlainFit
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import hybrid_dip as hd
from hybrid_dip import degradations, devices
from hybrid_dip.contracts import Step
from hybrid_dip.networks import winograd
from hybrid_dip.presets import Recipe
from hybrid_dip.restore import RunHooks, prepare, resolve

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
    "batch norm": ("native_batch_norm", "native_batch_norm_backward", "cudnn_batch_norm", "cudnn_batch_norm_backward"),
    "activations": ("leaky_relu_", "leaky_relu", "leaky_relu_backward", "sigmoid", "sigmoid_backward"),
    "padding": ("reflection_pad2d", "reflection_pad2d_backward", "constant_pad_nd"),
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
    dtype: str
    compiled: bool
    device: str
    threads: int | None
    steps: int


class Autocast(nn.Module):
    """A network that computes in another dtype where torch thinks that it can."""

    def __init__(self, network: nn.Module, dtype: torch.dtype, device: str):
        super().__init__()
        self.network, self.dtype, self.device = network, dtype, device

    def forward(self, z: Tensor) -> Tensor:
        """Return the network's output in single precision."""
        with torch.autocast(self.device, self.dtype):
            output: Tensor = self.network(z)
        return output.float()


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


def recipe_of(setting: Setting, task: hd.Task) -> Recipe:
    """The preset's recipe with the row's dtype and compilation."""
    recipe = resolve(setting.preset, task)
    make = recipe.network

    def network(in_channels: int, out_channels: int) -> nn.Module:
        made = make(in_channels, out_channels)
        if setting.dtype != "float32":
            made = Autocast(made, getattr(torch, setting.dtype), setting.device)
        if setting.compiled:
            made.compile()
        return made

    return replace(recipe, network=network)


def task_of(size: int) -> hd.Task:
    """Denoising of random pixels: what is in the image does not change the time."""
    return degradations.noisy(torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)), sigma=0.1).task


def peak(device: torch.device) -> int:
    """Most memory so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(setting: Setting) -> dict[str, Any]:
    """One row."""
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    device = devices.pick(setting.device)
    hd.restore(task_of(32), preset=setting.preset, steps=2, runs=1, device=device)  # what torch itself allocates once
    rate = matrix_rate(device)
    task = task_of(setting.size)
    before = peak(device)
    stamps = [time.perf_counter()]

    def watch(step: Step) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    recipe = recipe_of(setting, task)
    hooks = RunHooks(observers=[watch])
    hd.restore(task, preset=recipe, steps=WARM + setting.steps, runs=1, device=device, hooks=lambda seed: hooks)
    taken = [after - earlier for earlier, after in itertools.pairwise(stamps)]
    memory = peak(device) - before
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
    recipe = recipe_of(setting, task)
    work = work_of_a_step(task, resolve(setting.preset, task))
    multiplied, copied = matrix_rate(device), copy_rate(device)
    hd.restore(task, preset=recipe, steps=WARM, runs=1, device=device)
    with torch.profiler.profile(record_shapes=True) as profile:
        hd.restore(task, preset=recipe, steps=setting.steps, runs=1, device=device)
    events = profile.key_averages(group_by_input_shape=True)
    rows, rest, total = [], 0.0, sum(event.self_cpu_time_total for event in events)
    part_of = {f"aten::{name}": part for part, names in PARTS.items() for name in names} | {
        name: part for part, names in PARTS.items() for name in names
    }
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    moved: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for event in events:
        part = part_of.get(event.key)
        if part is None:
            rest += event.self_cpu_time_total
            continue
        sizes = [4 * math.prod(shape) for shape in event.input_shapes if shape]
        seconds[part] += event.self_cpu_time_total / 1e6
        moved[part] += event.count * (sum(sizes) + max(sizes, default=0))  # the result is about as large as the largest input
    for part in PARTS:
        if not seconds[part]:
            continue
        arithmetic = 1e9 * work * setting.steps / seconds[part] / multiplied if part == "convolutions" else 0.0
        traffic = moved[part] / seconds[part] / copied
        rows.append({"part": part, "time": 1e6 * seconds[part] / total, "arithmetic": arithmetic, "traffic": traffic})
    return [*rows, {"part": "everything else", "time": rest / total, "arithmetic": 0.0, "traffic": 0.0}]


def verdict(row: dict[str, Any]) -> str:
    """What bounds a part of a step."""
    if max(row["arithmetic"], row["traffic"]) < 0.2:
        return "neither: how it is computed, or the cost of a call"
    return "arithmetic" if row["arithmetic"] > row["traffic"] else "memory"


def block(ours: bool, size: int, threads: int | None, steps: int) -> float:
    """Seconds a step of the original's denoising recipe, by us or plainly."""
    if threads is not None:
        torch.set_num_threads(threads)
    case = degradations.noisy(torch.rand(1, 3, size, size), sigma=0.1)
    recipe = hd.presets.original(case.task)
    if not ours:
        return PlainFit(case, recipe, seed=0).seconds_per_step(steps, WARM)
    stamps: list[float] = []
    hooks = RunHooks(observers=[lambda step: stamps.append(time.perf_counter())])
    hd.restore(case.task, preset=recipe, steps=WARM + steps, device="cpu", hooks=lambda seed: hooks)
    return (stamps[-1] - stamps[WARM - 1]) / steps


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def print_steps(settings: Iterable[Setting]) -> None:
    """The table of seconds and memory."""
    print(
        "| preset | size | dtype | compiled | device | threads | s a step | slope | MiB | GFLOP | of matrix rate | first (s) |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    before: tuple[Setting, float] | None = None
    for setting in settings:
        row = alone(measure, setting)
        slope = ""
        if before is not None and replace(before[0], size=setting.size) == setting:
            slope = f"{math.log(row['seconds'] / before[1]) / math.log(setting.size**2 / before[0].size ** 2):.2f}"
        before = (setting, row["seconds"])
        print(
            f"| {setting.preset} | {setting.size} | {setting.dtype} | {'yes' if setting.compiled else 'no'} | {setting.device} "
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


def print_plain(sizes: Iterable[int], threads: int | None, steps: int, rounds: int) -> None:
    """The original's recipe plainly and by us, in turns."""
    print("| size | plainly (s a step) | by us (s a step) | ratio (of each pair) |\n|---|---|---|---|")
    for size in sizes:
        pairs = [tuple(alone(block, ours, size, threads, steps) for ours in (False, True)) for _ in range(rounds)]
        plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(p / o for p, o in pairs)
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {size} | {plain:.4f} | {ours:.4f} | {statistics.median(ratios):.2f} ({listed}) |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["original", "quick", "fast"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--compile", nargs="+", default=["off"], choices=["off", "on"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    parser.add_argument("--steps", type=int, default=10, help="timed in each row")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of --plain")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--parts", action="store_true", help="what bounds the parts of a step")
    kind.add_argument("--plain", action="store_true", help="the original's recipe, run plainly and by us")
    asked = parser.parse_args()
    settings = [
        Setting(preset, size, dtype, compiled == "on", asked.device, asked.threads, asked.steps)
        for preset in asked.presets
        for dtype in asked.dtypes
        for compiled in asked.compile
        for size in asked.sizes
    ]
    if asked.plain:
        print_plain(asked.sizes, asked.threads, asked.steps, asked.rounds)
    else:
        (print_parts if asked.parts else print_steps)(settings)


if __name__ == "__main__":
    main()
