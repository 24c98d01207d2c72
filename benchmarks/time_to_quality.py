"""How long until a restoration is as good as the original's at its best?

    python benchmarks/time_to_quality.py --task denoise --size 128 --images photo.png ... --json out.json --plot out.png

For each image: the original's recipe, run plainly to its end (benchmarks/plain.py), and a preset of ours until its own
stopping rule ends it, without a look at the reference. The bar is the original's peak: the best PSNR of its output average
along the whole run, an oracle, since on small images it overfits long before its recipe ends.

Seconds are taken in this one run on this one machine, with as many threads for both: blocks of the original's steps right
before and right after ours give its seconds a step, and a step of its curve is placed in time by that. So the curve itself,
which depends on the settings and the machine only, can be fitted beforehand and beside other work (``--curves-only``, any
number of threads); it is kept in ``--cache``, by processor, and taken up again where it was interrupted. ``--curves-of``
takes those of another processor (and ``--curves-by`` of another torch), which sums in another order; ``--curve-network
package`` computes them by the package's network, which gives the same outputs and gradients up to rounding; ``--until``
follows the original for so many steps only.

On a GPU (``--device cuda``) the original is run with torch's own settings, in which convolutions may multiply in TF32, and
ours as --precision, --compile and --graph say.
"""

import argparse
import hashlib
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from plain import CPU, Curve, PlainFit, standard_network
from torch import Tensor, nn
from tqdm import tqdm

import hybrid_dip as hd
from hybrid_dip.contracts import Case, Step
from hybrid_dip.errors import one_sentence
from hybrid_dip.execution import devices
from hybrid_dip.execution.allocator import keep_freed_memory
from hybrid_dip.execution.precision import PRECISIONS, Execution
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import replacing, write_text
from hybrid_dip.images.files import crop_to_centre
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.presets import STANDARD, original
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.restore import RunHooks
from hybrid_dip.stopping.selection import steps_of

TASKS: dict[str, Callable[[Tensor], Case]] = {
    "denoise": lambda clean: degradations.noisy(clean, sigma=25 / 255),
    "super-resolve": lambda clean: degradations.downsampled(clean, factor=4),
    "inpaint": lambda clean: degradations.scattered(clean, share=0.5),
}
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"plain": standard_network, "package": STANDARD}
Lines = dict[str, list[tuple[list[float], list[float]]]]
"""Name -> seconds and PSNR of each fit; the last entry ends in the result."""

MEASURED_EVERY, WATCHED_EVERY = 10, 20
SAVED_EVERY = 60.0
BLOCK = 10
"""Steps of the original timed before and after ours."""


def processor(device: torch.device = CPU) -> str:
    """The processor's name, or the GPU's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if lines:
            return lines[0].split(":")[1].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class CurveSource:
    """Where the original's curves come from.

    Attributes:
        cache: Folder that keeps them.
        processor: Whose curves are taken; None for this machine's, which are fitted where they are missing.
        version: Of torch, which has fitted them, or is to.
        network: "plain" for torch's own layers, "package" for the package's network, the same mathematics in less time.
        until: Step after which a curve ends; None for the recipe's own.
        device: Where they are fitted.
    """

    cache: Path
    processor: str | None = None
    version: str = str(torch.__version__)
    network: str = "plain"
    until: int | None = None
    device: torch.device = CPU


@keep_freed_memory()
def original_curve(case: Case, recipe: Recipe, seed: int, source: CurveSource, label: str) -> Curve:
    """The PSNR of the original along its recipe, from the cache or fitted now."""
    cache, fitted_on, here = source.cache, source.processor, processor(source.device)
    digest = hashlib.sha256(case.reference.numpy().tobytes() + case.task.observation.numpy().tobytes())
    chosen = {name: getattr(recipe, name) for name in ("steps", "lr", "jitter", "latent_first")}
    settings = {**chosen, "seed": seed, "processor": fitted_on or here, "torch": source.version}
    if source.network != "plain":
        settings["network"] = source.network
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + digest.digest()).hexdigest()[:16]
    done, state = cache / f"{key}.json", cache / f"{key}.pt"
    last = min(recipe.steps, source.until or recipe.steps)
    found = Curve(**json.loads(done.read_text())["curve"]) if done.exists() else Curve()
    if found.steps and found.steps[-1] >= last:
        return found
    if fitted_on not in (None, here) or source.version != str(torch.__version__):
        raise SystemExit(
            f"{cache} has no curve of {label} by {fitted_on or here!r} and torch {source.version}; leave out --curves-of and "
            "--curves-by to fit it here."
        )
    cache.mkdir(parents=True, exist_ok=True)
    plain, curve = PlainFit(case, recipe, seed, NETWORKS[source.network], source.device), Curve()
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        plain.resume(saved["fit"])
        curve = Curve(**saved["curve"])
    last_saved = time.monotonic()
    with tqdm(total=last, initial=plain.done, desc=f"original, {label}", unit="step") as bar:
        while plain.done < last:
            plain.step()
            bar.update()
            if plain.done % MEASURED_EVERY == 0 or plain.done == last:
                plain.measure(curve)
            if time.monotonic() - last_saved > SAVED_EVERY:
                with replacing(state) as temporary:
                    torch.save({"fit": plain.state(), "curve": asdict(curve)}, temporary)
                last_saved = time.monotonic()
    write_text(done, json.dumps({"label": label, **settings, "threads": torch.get_num_threads(), "curve": asdict(curve)}))
    if last == recipe.steps:
        state.unlink(missing_ok=True)
    return curve


def _block(path: Path, task: str, size: int, seed: int, threads: int, device: torch.device) -> float:
    torch.set_num_threads(threads)
    case = make_case(path, task, size)
    steps = BLOCK if device.type == "cpu" else 10 * BLOCK
    return PlainFit(case, original(case.task), seed, device=device).seconds_per_step(steps)


def seconds_per_step(path: Path, task: str, size: int, seed: int, device: torch.device) -> float:
    """Of the original, right now, in a process of its own: it inherits nothing from ours."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_block, (path, task, size, seed, torch.get_num_threads(), device))


@dataclass
class Watch:
    """Keeps some of our images with their times; they are measured after the fit."""

    started: float
    times: list[float] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        """Keep this step's image, now and then."""
        if step.index % WATCHED_EVERY == 0:
            self.times.append(time.perf_counter() - self.started)
            self.images.append(step.candidate)


def compare(
    path: Path, task: str, size: int, *, preset: str, seed: int, curves: CurveSource, steps: int | None, execution: Execution
) -> tuple[dict[str, Any], Lines]:
    """One row of the table, and the curves for the plot."""
    case = make_case(path, task, size)
    recipe = recipe_of(case, steps)
    curve = original_curve(case, recipe, seed, curves, label_of(path, task, size))
    before = seconds_per_step(path, task, size, seed, curves.device)
    if curves.device.type == "cuda":  # its libraries are loaded at first use
        hd.restore(case.task, preset=preset, steps=2, runs=1, device=curves.device)
    started = time.perf_counter()
    watches: list[Watch] = []

    def hooks(seed: int) -> RunHooks:
        watches.append(Watch(started))
        return RunHooks(observers=watches[-1:])

    result = hd.restore(
        case.task, preset=preset, seed=seed, steps=steps, device=curves.device, execution=execution, hooks=hooks
    )
    ours = time.perf_counter() - started
    step = statistics.mean([before, seconds_per_step(path, task, size, seed, curves.device)])
    peak = peak_of(curve)
    total, to_peak = recipe.steps * step, curve.steps[peak] * step
    quality = metrics.psnr(result.image, case.reference)
    seen = [
        (watch.times, [metrics.psnr(case.task.finish(x.cpu()), case.reference) for x in watch.images])
        for watch in watches
        if watch.times  # of an image in tiles there is but the end
    ]
    row = {
        "image": path.name,
        "task": task,
        "size": size,
        "original_peak_psnr": curve.average[peak],
        "original_peak_seconds": round(to_peak, 2),
        "original_peak_step": curve.steps[peak],
        "original_final_psnr": curve.average[-1] if curve.steps[-1] == recipe.steps else None,
        "original_followed_to_step": curve.steps[-1],
        "original_seconds": round(total, 2),
        "original_seconds_per_step": round(step, 4),
        "ours_psnr": round(quality, 4),
        "ours_seconds": round(ours, 2),
        "ours_steps": [steps_of(found) for found in result.fits],
        "ours_best_and_last_of_each_fit": [(round(max(psnr), 4), round(psnr[-1], 4)) for _, psnr in seen],
        "ours_reason": result.fits[0].reason,
        "ratio": round(total / ours, 3),
        "ratio_to_peak": round(to_peak / ours, 3),
        "gap_db": round(quality - curve.average[peak], 4),
        "preset": preset,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "processor": processor(curves.device),
        "execution": str(execution),
        "curve_processor": curves.processor or processor(curves.device),
        "curve_torch": curves.version,
        "curve_network": curves.network,
        "torch": torch.__version__,
    }
    lines = {
        "original": [([s * step for s in curve.steps], curve.average)],
        (preset if preset != "original" else "original, here"): [
            *seen,
            ([ours], [quality]),
        ],
    }
    return row, lines


def peak_of(curve: Curve) -> int:
    """Where in a curve the output average is at its best."""
    return max(range(len(curve.steps)), key=curve.average.__getitem__)


def recipe_of(case: Case, steps: int | None) -> Recipe:
    """The original's, with its own number of steps or another one."""
    recipe = original(case.task)
    return replace(recipe, steps=steps or recipe.steps)


def label_of(path: Path, task: str, size: int) -> str:
    """What the progress bar and the plot call it."""
    return f"{path.stem}, {task}, {size}x{size}"


def make_case(path: Path, task: str, size: int) -> Case:
    """Degrade the centre of an image."""
    clean = crop_to_centre(hd.load_image(path)[:, :3], size)
    if min(clean.shape[-2:]) < size:
        raise SystemExit(f"{path} is smaller than {size}x{size}; give a larger image or a smaller --size.")
    return TASKS[task](clean)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| image | task | size | original's peak (step, s) | original's end (s) | ours (s) | ours - peak "
        "| whole recipe / ours | to peak / ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        final = row["original_final_psnr"]
        end = f"not followed after step {row['original_followed_to_step']}" if final is None else f"{final:.2f} dB"
        lines.append(
            f"| {row['image']} | {row['task']} | {row['size']} "
            f"| {row['original_peak_psnr']:.2f} dB ({row['original_peak_step']}, {row['original_peak_seconds']:.0f}) "
            f"| {end} ({row['original_seconds']:.0f}) | "
            f"{row['ours_psnr']:.2f} dB ({row['ours_seconds']:.0f}) | {row['gap_db']:+.2f} dB | {row['ratio']:.1f} | "
            f"{row['ratio_to_peak']:.1f} |"
        )
    return "\n".join(lines)


def curve_table(curves: dict[str, Curve], network: str) -> str:
    """What the original came to, as Markdown."""
    lines = ["| image, task, size | network | peak (step) | end (step) |", "|---|---|---|---|"]
    for label, curve in curves.items():
        peak = peak_of(curve)
        lines.append(
            f"| {label} | {network} | {curve.average[peak]:.2f} dB ({curve.steps[peak]}) "
            f"| {curve.average[-1]:.2f} dB ({curve.steps[-1]}) |"
        )
    return "\n".join(lines)


def save_plot(path: Path, plots: dict[str, Lines]) -> None:
    """PSNR against seconds, a panel an image, with the bar and the end of ours."""
    from matplotlib.figure import Figure

    columns = min(3, len(plots))
    rows = -(-len(plots) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, (title, lines) in zip(panels, plots.items(), strict=False):
        for color, (name, fits) in zip(("tab:gray", "tab:blue"), lines.items(), strict=True):
            for seconds, quality in fits:
                panel.plot(seconds, quality, color=color)
            panel.plot(seconds[-1:], quality[-1:], "o", color=color, label=name)
        best = max(lines["original"][0][1])
        panel.axhline(best, color="gray", linestyle=":", label="peak of the original")
        panel.set(title=title, xscale="log", xlabel="seconds", ylabel="PSNR (dB)", ylim=(best - 8, best + 1.5))
        panel.legend(loc="lower right", fontsize="small")
    for panel in panels[len(plots) :]:
        panel.remove()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, metadata={"Software": None})


def main() -> None:
    """Compare, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task", choices=[*TASKS, "missing-pixels"], default="denoise", help="inpaint is half of the pixels missing"
    )
    parser.add_argument("--size", type=int, default=128, help="side of the centre crop")
    parser.add_argument("--images", type=Path, nargs="+", help="clean images")
    parser.add_argument("--preset", default="fast", help="ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of ours")
    parser.add_argument("--compile", action="store_true", help="ours")
    parser.add_argument("--graph", action="store_true", help="replay ours as a CUDA graph")
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    parser.add_argument("--json", type=Path, default=None, help="file to write")
    parser.add_argument("--plot", type=Path, default=None, help="PNG file to write")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "curves", help="of the original's curves")
    parser.add_argument(
        "--curves-of", metavar="PROCESSOR", help="take the curves that this processor fitted; by default, this one's"
    )
    parser.add_argument(
        "--curves-by", metavar="TORCH", default=str(torch.__version__), help="the version of torch that fitted them"
    )
    parser.add_argument(
        "--curve-network",
        choices=list(NETWORKS),
        default="plain",
        help="fit the curves by torch's own layers, or by the package's network: the same mathematics in less time",
    )
    parser.add_argument(
        "--until", type=int, metavar="STEP", help="follow the original so far only; its peak is then the best so far"
    )
    parser.add_argument(
        "--curves-only", action="store_true", help="fit the original's curves into the cache, print what they came to, and end"
    )
    parser.add_argument("--steps", type=int, default=None, help="of both instead of their own, to try the command")
    parser.add_argument("--show", type=Path, nargs="+", metavar="JSON", help="print the table of earlier results and end")
    asked = parser.parse_args()
    if asked.show:
        print(table([row for path in asked.show for row in json.loads(path.read_text())]))
        return
    if not asked.images:
        parser.error("give --images")
    if asked.size % 32 or asked.size < 64:
        parser.error(f"the original's network takes sides that are multiples of 32, of at least 64; got --size {asked.size}")
    task = "inpaint" if asked.task == "missing-pixels" else asked.task
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    device = devices.pick(asked.device)
    curves = CurveSource(asked.cache, asked.curves_of, asked.curves_by, asked.curve_network, asked.until, device)
    execution = Execution(asked.precision, compiled=asked.compile, graphed=asked.graph)
    if asked.curves_only:
        fitted = {}
        for path in asked.images:
            case, label = make_case(path, task, asked.size), label_of(path, task, asked.size)
            fitted[label] = original_curve(case, recipe_of(case, asked.steps), asked.seed, curves, label)
        print(curve_table(fitted, asked.curve_network))
        return
    rows: list[dict[str, Any]] = []
    plots: dict[str, Lines] = {}
    for path in asked.images:
        row, plots[label_of(path, task, asked.size)] = compare(
            path,
            task,
            asked.size,
            preset=asked.preset,
            seed=asked.seed,
            curves=curves,
            steps=asked.steps,
            execution=execution,
        )
        rows.append(row)
        if asked.json:
            write_text(asked.json, json.dumps(rows, indent=2) + "\n")
    print(table(rows))
    if asked.plot:
        save_plot(asked.plot, plots)


if __name__ == "__main__":
    with one_sentence("time_to_quality.py"):
        main()
