"""How long until a restoration is as good as the original's at its best?

    python benchmarks/time_to_quality.py --task denoise --size 128 --images photo.png ... --json out.json --plot out.png

For each image two fits are compared: the original's recipe, run to its end in a plain loop (benchmarks/plain.py), and one of
our presets, until its own stopping rule ends it. The stopping rule does not see the reference. The bar is the original's peak:
the best PSNR of its output average along the whole run. That peak is an oracle, because on small images the original overfits
long before its recipe ends.

Both are timed in this run, on this machine, with the same number of threads. The original's seconds per step come from blocks
of its steps right before and right after our fit. Its curve (PSNR against the step) does not depend on time, so it can be
fitted beforehand, beside other work and with any number of threads (``--curves-only``). Curves are kept in ``--cache``, for
each processor, and resumed after an interruption. ``--curves-of`` takes the curves of another processor and ``--curves-by``
those of another torch; these sum in another order. ``--curve-network package`` computes curves by the package's network, which
gives the same outputs and gradients up to rounding. ``--until`` follows the original up to a step only.

On a GPU (``--device cuda``) the original runs with torch's own settings, in which convolutions may multiply in TF32. Ours runs
as --precision, --compile and --graph say.
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
from hybrid_dip.images.atomic import replacement, write_text
from hybrid_dip.images.files import crop_to_centre
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.presets import STANDARD, original
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.stopping.selection import steps_of

TASKS: dict[str, Callable[[Tensor], Case]] = {
    "denoise": lambda clean: degradations.noisy(clean, sigma=25 / 255),
    "super-resolve": lambda clean: degradations.downsampled(clean, factor=4),
    "inpaint": lambda clean: degradations.scattered(clean, share=0.5),
}
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"plain": standard_network, "package": STANDARD}
Lines = dict[str, list[tuple[list[float], list[float]]]]
"""Name -> (seconds, PSNR) of each fit; the last entry ends in the result."""

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
        cache: Folder of the curves.
        processor: Processor whose curves are taken; None for this machine, which fits those that are missing.
        version: Version of torch that fits the curves.
        network: "plain" for torch's own layers, "package" for the package's network, the same mathematics in less time.
        until: Step at which a curve ends; None for the last step of the recipe.
        device: Device of the fits.
    """

    cache: Path
    processor: str | None = None
    version: str = str(torch.__version__)
    network: str = "plain"
    until: int | None = None
    device: torch.device = CPU


@keep_freed_memory()
def original_curve(case: Case, recipe: Recipe, seed: int, source: CurveSource, label: str) -> Curve:
    """The PSNR of the original along its recipe, from the cache or from a fit now.

    Raises:
        SystemExit: The curve is another processor's or another torch's, and is not in the cache.
    """
    cache, fitted_on, here = source.cache, source.processor, processor(source.device)
    digest = hashlib.sha256(case.reference.numpy().tobytes() + case.task.observation.numpy().tobytes())
    fields = {name: getattr(recipe, name) for name in ("steps", "lr", "jitter", "latent_first")}
    settings = {**fields, "seed": seed, "processor": fitted_on or here, "torch": source.version}
    if source.network != "plain":
        settings["network"] = source.network
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + digest.digest()).hexdigest()[:16]
    done, state = cache / f"{key}.json", cache / f"{key}.pt"
    last = min(recipe.steps, source.until or recipe.steps)
    known = Curve(**json.loads(done.read_text())["curve"]) if done.exists() else Curve()
    if known.steps and known.steps[-1] >= last:
        return known
    if fitted_on not in (None, here) or source.version != str(torch.__version__):
        raise SystemExit(
            f"{cache} has no curve for {label} of {fitted_on or here!r} with torch {source.version}; leave out --curves-of and "
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
                with replacement(state) as temporary:
                    torch.save({"fit": plain.state(), "curve": asdict(curve)}, temporary)
                last_saved = time.monotonic()
    write_text(done, json.dumps({"label": label, **settings, "threads": torch.get_num_threads(), "curve": asdict(curve)}))
    if last == recipe.steps:
        state.unlink(missing_ok=True)
    return curve


def _time_block(path: Path, task: str, size: int, seed: int, threads: int, device: torch.device) -> float:
    torch.set_num_threads(threads)
    case = make_case(path, task, size)
    steps = BLOCK if device.type == "cpu" else 10 * BLOCK
    return PlainFit(case, original(case.task), seed, device=device).seconds_per_step(steps)


def seconds_per_step(path: Path, task: str, size: int, seed: int, device: torch.device) -> float:
    """Time steps of the original now, in its own process, so that nothing of our fit affects it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_time_block, (path, task, size, seed, torch.get_num_threads(), device))


@dataclass
class Watch:
    """Keeps some of our images with their times; their PSNR is computed after the fit."""

    started: float
    times: list[float] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        """Keep this step's image if it is due."""
        if step.index % WATCHED_EVERY == 0:
            self.times.append(time.perf_counter() - self.started)
            self.images.append(step.candidate)


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        task: Name in :data:`TASKS`.
        size: Side of the image in pixels.
        preset: Our preset.
        seed: Seed of both.
        steps: Steps of both fits; None for their own.
        curves: Where the original's curve comes from, and the device of both.
        execution: How our network is computed.
    """

    task: str
    size: int
    preset: str
    seed: int
    steps: int | None
    curves: CurveSource
    execution: Execution


def compare(path: Path, setting: Setting) -> tuple[dict[str, Any], Lines]:
    """Time the original and ours on one image; return a row of the table and the lines of the plot."""
    task, size, preset, seed = setting.task, setting.size, setting.preset, setting.seed
    curves, execution = setting.curves, setting.execution
    case = make_case(path, task, size)
    recipe = recipe_of(case, setting.steps)
    curve = original_curve(case, recipe, seed, curves, label_of(path, task, size))
    before = seconds_per_step(path, task, size, seed, curves.device)
    if curves.device.type == "cuda":  # its libraries are loaded at first use
        hd.restore(case.task, preset=preset, steps=2, runs=1, device=curves.device, progress=False)
    started = time.perf_counter()
    watches: list[Watch] = []

    def hooks(name: FitName) -> FitHooks:
        if name != FitName(name.seed):  # a tile, or a replicate: it is not the image that the curve is of
            return FitHooks()
        watches.append(Watch(started))
        return FitHooks(observers=watches[-1:])

    result = hd.restore(
        case.task,
        preset=preset,
        seed=seed,
        steps=setting.steps,
        device=curves.device,
        execution=execution,
        progress=False,
        hooks=hooks,
    )
    ours = time.perf_counter() - started
    step = statistics.mean([before, seconds_per_step(path, task, size, seed, curves.device)])
    peak = peak_of(curve)
    total, to_peak = recipe.steps * step, curve.steps[peak] * step
    quality = metrics.psnr(result.image, case.reference)
    seen = [(watch.times, [metrics.psnr(case.task.finish(x.cpu()), case.reference) for x in watch.images]) for watch in watches]
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
        "ours_steps": [steps_of(fit) for fit in result.fits],
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
    """Index in a curve at which the output average is best."""
    return max(range(len(curve.steps)), key=curve.average.__getitem__)


def recipe_of(case: Case, steps: int | None) -> Recipe:
    """The original's recipe, with its own number of steps or the one given."""
    recipe = original(case.task)
    return replace(recipe, steps=steps or recipe.steps)


def label_of(path: Path, task: str, size: int) -> str:
    """Label of a case in the progress bar and the plot."""
    return f"{path.stem}, {task}, {size}x{size}"


def make_case(path: Path, task: str, size: int) -> Case:
    """Degrade the centre of an image."""
    clean = crop_to_centre(hd.load_image(path)[:, :3], size)
    if min(clean.shape[-2:]) < size:
        raise SystemExit(f"{path} is smaller than {size}x{size} pixels; give a larger image or a smaller --size.")
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
    """Peak and end of the original's curves, as Markdown."""
    lines = ["| image, task, size | network | peak (step) | end (step) |", "|---|---|---|---|"]
    for label, curve in curves.items():
        peak = peak_of(curve)
        lines.append(
            f"| {label} | {network} | {curve.average[peak]:.2f} dB ({curve.steps[peak]}) "
            f"| {curve.average[-1]:.2f} dB ({curve.steps[-1]}) |"
        )
    return "\n".join(lines)


def save_plot(path: Path, plots: dict[str, Lines]) -> None:
    """Draw PSNR against seconds, one panel for each image, with the bar and the end of ours."""
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
    with replacement(path) as temporary:
        figure.savefig(temporary, dpi=90, metadata={"Software": None})


def main() -> None:
    """Compare on each image; print the table, write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task", choices=[*TASKS, "missing-pixels"], default="denoise", help="inpaint is half of the pixels missing"
    )
    parser.add_argument("--size", type=int, default=128, help="side of the centre crop in pixels")
    parser.add_argument("--images", type=Path, nargs="+", help="clean images")
    parser.add_argument("--preset", default="fast", help="our preset")
    parser.add_argument("--seed", type=int, default=0, help="seed of both")
    parser.add_argument("--device", default="cpu", help="device of both")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of ours")
    parser.add_argument("--compile", action="store_true", help="ours")
    parser.add_argument("--graph", action="store_true", help="replay ours as a CUDA graph")
    parser.add_argument("--threads", type=int, default=None, help="threads of both; by default torch's own choice")
    parser.add_argument("--json", type=Path, default=None, help="file to write")
    parser.add_argument("--plot", type=Path, default=None, help="PNG file to write")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "curves", help="folder of the original's curves")
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
        "--until", type=int, metavar="STEP", help="follow the original up to this step only; its peak is then the best so far"
    )
    parser.add_argument(
        "--curves-only",
        action="store_true",
        help="fit the original's curves into the cache, print their peaks and ends, and end",
    )
    parser.add_argument("--steps", type=int, default=None, help="steps of both fits, to try the command; by default their own")
    parser.add_argument("--show", type=Path, nargs="+", metavar="JSON", help="print the table of earlier results and end")
    arguments = parser.parse_args()
    if arguments.show:
        print(table([row for path in arguments.show for row in json.loads(path.read_text())]))
        return
    if not arguments.images:
        parser.error("give --images")
    if arguments.size % 32 or arguments.size < 64:
        parser.error(
            f"the original's network needs a side of at least 64 that is a multiple of 32; got --size {arguments.size}"
        )
    task = "inpaint" if arguments.task == "missing-pixels" else arguments.task
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = devices.pick(arguments.device)
    curves = CurveSource(
        arguments.cache, arguments.curves_of, arguments.curves_by, arguments.curve_network, arguments.until, device
    )
    execution = Execution(arguments.precision, compiled=arguments.compile, graphed=arguments.graph)
    if arguments.curves_only:
        ends = {}
        for path in arguments.images:
            case, label = make_case(path, task, arguments.size), label_of(path, task, arguments.size)
            ends[label] = original_curve(case, recipe_of(case, arguments.steps), arguments.seed, curves, label)
        print(curve_table(ends, arguments.curve_network))
        return
    rows: list[dict[str, Any]] = []
    plots: dict[str, Lines] = {}
    setting = Setting(task, arguments.size, arguments.preset, arguments.seed, arguments.steps, curves, execution)
    for path in arguments.images:
        row, plots[label_of(path, task, arguments.size)] = compare(path, setting)
        rows.append(row)
        if arguments.json:
            write_text(arguments.json, json.dumps(rows, indent=2) + "\n")
    print(table(rows))
    if arguments.plot:
        save_plot(arguments.plot, plots)


if __name__ == "__main__":
    with one_sentence("time_to_quality.py"):
        main()
