"""Seconds and memory of one step, and what bounds each part of it.

    python benchmarks/step.py                                  # the presets at 64 to 256 pixels
    python benchmarks/step.py --presets fast --sizes 64 128 256 512 1024
    python benchmarks/step.py --precision float32 bfloat16 --compile off on
    python benchmarks/step.py --device cuda --sizes 256 512 --precision float32 tf32 bfloat16 --graph off on
    python benchmarks/step.py --parts                          # what bounds the parts of a step
    python benchmarks/step.py --plain                          # the original in a plain loop and by the package, in turns

The steps are those of ``hybrid_dip.fitting.fit`` on a denoising task. Each row is measured in its own process, which also
measures the rate of a matrix product. GFLOP counts the network's direct convolutions, so the share of that rate says how much
a better way to compute them could still gain. "Slope" is log(seconds) over log(pixels) from the row before: 1 is proportional.
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
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import log_interval

WARM = 3
"""Steps before the clock starts."""
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
"""Part of a step -> the operations of torch that belong to it."""


@dataclass(frozen=True)
class Setting:
    """What is measured in one row of the table."""

    preset: str
    size: int
    execution: Execution
    device: str
    threads: int | None
    steps: int

    def restore(self, task: hd.Task, steps: int, watch: Callable[[Step], None] = lambda step: None) -> None:
        """Take steps of one fit."""
        hooks = FitHooks(observers=[watch])
        hd.restore(
            task,
            preset=self.preset,
            steps=steps,
            runs=1,
            tile=0,
            device=self.device,
            execution=self.execution,
            progress=False,
            log_every=log_interval(resolve(self.preset, task).steps),  # as often as in a whole fit
            hooks=lambda name: hooks,
        )


def matrix_rate(device: torch.device) -> float:
    """FLOP per second of a product of 2048x2048 matrices in float32, the best of six."""
    a, b = torch.randn(2048, 2048, device=device), torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(_seconds(lambda: a @ b, device) for _ in range(6))


def copy_rate(device: torch.device) -> float:
    """Bytes per second, read and written, of an element-wise operation on 32 MiB, the best of six."""
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
    """GFLOP of the network, forward and backward, with direct convolutions."""
    network, z = prepare(task, recipe, seed=0)
    fewest, winograd.FEWEST_CHANNELS = winograd.FEWEST_CHANNELS, sys.maxsize
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(network(z).mean())
    winograd.FEWEST_CHANNELS = fewest
    return float(counter.get_total_flops()) / 1e9


def task_of(size: int) -> hd.Task:
    """Denoising of random pixels; the time does not depend on the image."""
    return degradations.noisy(torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)), sigma=0.1).task


def peak(device: torch.device) -> int:
    """Largest memory so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_in_use(device: torch.device) -> int:
    """Bytes in use now; on a GPU this also resets the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def measure(setting: Setting) -> dict[str, Any]:
    """Measure one row of :func:`print_steps`."""
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    device = devices.pick(setting.device)
    replace(setting, execution=PLAIN).restore(task_of(32), steps=2)  # torch allocates some memory once
    task = task_of(setting.size)
    before = memory_in_use(device)
    stamps = [time.perf_counter()]

    def watch(step: Step) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    setting.restore(task, WARM + setting.steps, watch)
    times = [after - earlier for earlier, after in itertools.pairwise(stamps)]
    memory = peak(device) - before
    rate = matrix_rate(device)  # after the peak was read: its matrices would count
    work = work_of_a_step(task, resolve(setting.preset, task))
    seconds = statistics.median(times[WARM:])
    return {
        "first": times[0],
        "seconds": seconds,
        "memory": memory,
        "gflop": work,
        "share": 1e9 * work / seconds / rate,
        "threads": torch.get_num_threads(),
    }


def parts(setting: Setting) -> list[dict[str, Any]]:
    """Profile a step: the time of each part, and how near it comes to the rates of arithmetic and of memory."""
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    device = devices.pick(setting.device)
    task = task_of(setting.size)
    work = work_of_a_step(task, resolve(setting.preset, task))
    arithmetic_rate, traffic_rate = matrix_rate(device), copy_rate(device)
    setting.restore(task, WARM)
    with torch.profiler.profile(record_shapes=True) as profile:
        setting.restore(task, setting.steps)
    # A GPU's kernels are events too; their time is already counted with the operation that launched them.
    events = [event for event in profile.events() if event.device_type.name == "CPU"]

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
        moved[part] += sum(sizes) + max(sizes, default=0)  # a result is about as large as the largest input
    for part in PARTS:
        if not seconds[part]:
            continue
        arithmetic = 1e9 * work * setting.steps / seconds[part] / arithmetic_rate if part == "convolutions" else 0.0
        traffic = moved[part] / seconds[part] / traffic_rate
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
"""Functions whose operations would by themselves belong to another part, or to none."""
_NO_TRAFFIC = ("as_strided", "view", "detach", "empty", "empty_strided")
"""Operations that move no numbers: views, and new memory."""


def part_of(event: Any) -> str | None:
    """The part of a step that an operation belongs to; a matrix product inside the optimiser is the optimiser's."""
    around = event
    while around is not None:
        if around.name in _WHOLE:
            return _WHOLE[around.name]
        around = around.cpu_parent
    return _PART_OF.get(event.name.removeprefix("aten::"))


def moves(event: Any) -> bool:
    """Whether an operation moves numbers itself: not a view, and not one that only calls other operations."""
    name = event.name.removeprefix("aten::")
    return name in _PART_OF or not (event.cpu_children or name in _NO_TRAFFIC)


def verdict(row: dict[str, Any]) -> str:
    """What bounds a part of a step."""
    if max(row["arithmetic"], row["traffic"]) < 0.2:
        return "neither: the way it is computed, or the cost of calls"
    return "arithmetic" if row["arithmetic"] > row["traffic"] else "memory"


def recipe_seconds(setting: Setting | None, plain: Setting) -> float:
    """Seconds per step of the original's denoising recipe, by the package or, without a setting, in a plain loop."""
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


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in its own process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def print_steps(settings: Iterable[Setting]) -> None:
    """Print the table of seconds and memory."""
    print(
        "| preset | size | computed in | device | threads | seconds per step | slope | MiB | GFLOP | share of matrix rate "
        "| first step (s) |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    before: tuple[Setting, float] | None = None
    for setting in settings:
        row = in_new_process(measure, setting)
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
    """Print the table of what bounds each part."""
    print("| preset | size | part | share of time | share of matrix rate | share of copy rate | bound by |")
    print("|---|---|---|---|---|---|---|")
    for setting in settings:
        for row in in_new_process(parts, setting):
            print(
                f"| {setting.preset} | {setting.size} | {row['part']} | {row['time']:.2f} | {row['arithmetic']:.2f} "
                f"| {row['traffic']:.2f} | {verdict(row) if row['traffic'] else ''} |",
                flush=True,
            )


def print_plain(settings: Iterable[Setting], rounds: int) -> None:
    """Print the table of the original's recipe in a plain loop and by the package, timed in turns."""
    print("| size | computed in | plain loop (s per step) | package (s per step) | ratio (each pair) |\n|---|---|---|---|---|")
    for setting in settings:
        pairs = [tuple(in_new_process(recipe_seconds, ours, setting) for ours in (None, setting)) for _ in range(rounds)]
        plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(p / o for p, o in pairs)
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"| {setting.size} | {setting.execution} | {plain:.4f} | {ours:.4f} | {statistics.median(ratios):.2f} ({listed}) |",
            flush=True,
        )


def main() -> None:
    """Print the table that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["original", "quick", "fast"], help="presets to time")
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256], help="sides of the image in pixels")
    parser.add_argument("--precision", nargs="+", default=["float32"], choices=PRECISIONS, help="precisions to time")
    parser.add_argument("--compile", nargs="+", default=["off"], choices=["off", "on"], help="without and with torch.compile")
    parser.add_argument(
        "--graph", nargs="+", default=["off"], choices=["off", "on"], help="without and with a graph (CUDA only)"
    )
    parser.add_argument("--device", default="cpu", help="device of the fits")
    parser.add_argument("--threads", type=int, default=None, help="threads of the fits; by default torch's own choice")
    parser.add_argument("--steps", type=int, default=10, help="steps timed in each row")
    parser.add_argument("--rounds", type=int, default=5, help="pairs timed by --plain")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--parts", action="store_true", help="what bounds the parts of a step")
    kind.add_argument("--plain", action="store_true", help="the original's recipe, in a plain loop and by the package")
    arguments = parser.parse_args()
    settings = [
        Setting(
            preset,
            size,
            Execution(precision, compiled == "on", graphed=graph == "on"),
            arguments.device,
            arguments.threads,
            arguments.steps,
        )
        for preset in (["original"] if arguments.plain else arguments.presets)
        for precision in arguments.precision
        for compiled in arguments.compile
        for graph in arguments.graph
        for size in arguments.sizes
    ]
    if arguments.plain:
        print_plain(settings, arguments.rounds)
    else:
        (print_parts if arguments.parts else print_steps)(settings)


if __name__ == "__main__":
    with one_sentence("step.py"):
        main()
