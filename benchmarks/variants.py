"""What each choice in the preset ``fast`` gives: the preset with one thing changed, on training images.

    python benchmarks/variants.py --images photo.png --json out.json
    python benchmarks/variants.py --list
    python benchmarks/variants.py --show out.json

Each variant restores the centre 128x128 pixels from noise (sigma 25) and from a quarter of the size; ``--tasks inpaint`` is
half of the pixels missing. It makes as many fits as the preset, with the same seeds. The table has three figures: the mean
PSNR of a single fit, the PSNR of the mean of all fits, and the processor time relative to the preset on the same processor
(one thread, so that other work hardly changes it). Finished variants are kept in the JSON file, so the command can be
interrupted and repeated.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from time_to_quality import make_case, processor
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.errors import one_sentence
from hybrid_dip.fitting import optimizers
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import write_text
from hybrid_dip.networks import latents
from hybrid_dip.recipes import presets
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import schedules

TASKS = ("denoise", "super-resolve", "inpaint")


def width(channels: int, steps: float = 1.0) -> Callable[[Recipe], Recipe]:
    """Another width at every scale, and another number of steps."""
    network = partial(presets.EVEN, down=(channels,) * 5, up=(channels,) * 5)
    return lambda recipe: replace(recipe, network=network, steps=round(steps * recipe.steps))


def network(**changed: Any) -> Callable[[Recipe], Recipe]:
    """Other options of the network."""
    return lambda recipe: replace(recipe, network=partial(recipe.network, **changed))


def adam(first: float, second: float, lr: float = 0.005) -> Callable[[Recipe], Recipe]:
    """Adam for all parameters, with these betas."""
    return lambda recipe: replace(recipe, lr=lr, optimizer=partial(optimizers.adam, betas=(first, second)))


def muon(filters: float) -> Callable[[Recipe], Recipe]:
    """Muon for the filters, with this learning rate."""
    return lambda recipe: replace(recipe, optimizer=partial(optimizers.muon, betas=(0.8, 0.9), filters=filters / recipe.lr))


class PixelShuffle(nn.Module):
    """A network at half the resolution that puts out four pixels for each of its own."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        trunk = partial(networks.skip, down=(64,) * 4, skip=(4,) * 4, upsample="bilinear", padding="reflection")
        self.trunk = trunk(in_channels, 4 * out_channels, sigmoid=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W) for z of (1, C', H, W); every other pixel of z is read."""
        return torch.sigmoid(nn.functional.pixel_shuffle(self.trunk(z[..., ::2, ::2]), 2))


def random_projector(in_channels: int, out_channels: int) -> nn.Module:
    """The even network with frozen convolutions; norms and latent are optimised (Deep Random Projector, CVPR 2023)."""
    even = presets.EVEN(in_channels, out_channels)
    for layer in even.modules():
        if isinstance(layer, nn.Conv2d):
            layer.requires_grad_(False)
    return even


class CoarseToFine(nn.Module):
    """The even network, at half the resolution in its first forward passes; that output is upsampled to the image's size."""

    def __init__(self, in_channels: int, out_channels: int, passes: int):
        super().__init__()
        self.network, self.left = presets.EVEN(in_channels, out_channels), passes

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W) for z of (1, C', H, W); while coarse, every other pixel of z is read."""
        self.left -= 1
        output: Tensor = self.network(z if self.left < 0 else z[..., ::2, ::2])
        return output if self.left < 0 else nn.functional.interpolate(output, scale_factor=2, mode="bilinear")


def coarse_first(recipe: Recipe) -> Recipe:
    """The first fifth of the preset's steps at half the resolution."""
    return replace(recipe, network=partial(CoarseToFine, passes=recipe.steps // 5))


def other_optimizer(name: str, lr: float, **options: Any) -> Callable[[Recipe], Recipe]:
    """An optimiser from the package pytorch_optimizer."""

    def optimizer(rate: float) -> optimizers.OptimizerFactory:
        import pytorch_optimizer

        return partial(getattr(pytorch_optimizer, name), lr=rate, **options)

    return lambda recipe: replace(recipe, lr=lr, optimizer=optimizer)


VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    "the preset": lambda recipe: recipe,
    "Adam 0.8, 0.9": adam(0.8, 0.9),
    "Adam 0.9, 0.999": adam(0.9, 0.999),
    "Adam 0.9, 0.95": adam(0.9, 0.95),
    "Adam 0, 0.9": adam(0.0, 0.9),
    "Muon 0.005": muon(0.005),
    "Muon 0.01": muon(0.01),
    "Muon 0.02": muon(0.02),
    "Muon 0.05": muon(0.05),
    "Lion 0.001": other_optimizer("Lion", 0.001, betas=(0.8, 0.9)),
    "SOAP 0.003": other_optimizer("SOAP", 0.003, betas=(0.8, 0.9), weight_decay=0.0),
    "twice the learning rate": lambda recipe: replace(recipe, lr=2 * recipe.lr),
    "half the learning rate": lambda recipe: replace(recipe, lr=recipe.lr / 2),
    "learning rate falling to 0 (cosine)": lambda recipe: replace(recipe, lr_schedule=schedules.Cosine(1, 0)),
    "the average of the original (0.99)": lambda recipe: replace(recipe, average=0.99),
    "no average": lambda recipe: replace(recipe, average=None),
    "half the jitter": lambda recipe: replace(recipe, jitter=recipe.jitter / 2),
    "half as much jitter again": lambda recipe: replace(recipe, jitter=recipe.jitter * 1.5),
    "a latent of 16 channels": lambda recipe: replace(recipe, latent=partial(latents.uniform, channels=16)),
    "a latent of 32 channels": lambda recipe: replace(recipe, latent=presets.NOISE),
    "the narrow network and 32 channels, 2.8 times the steps": lambda recipe: replace(
        recipe, network=presets.EVEN, latent=presets.NOISE, steps=round(2.8 * recipe.steps)
    ),
    "width 16": width(16),
    "width 64, half of the steps": width(64, 0.5),
    "width 128, a quarter of the steps": width(128, 0.25),
    "narrow at the top: 16, 32, 64, 128, 128": network(down=(16, 32, 64, 128, 128), up=None),
    "no 1x1 convolutions": network(pointwise_up=False),
    "skips of 4 channels": network(skip=(4,) * 5),
    "skips of 16 channels": network(skip=(16,) * 5),
    "no skips": network(skip=(0,) * 5),
    "nearest upsampling": network(upsample="nearest"),
    "coarse to fine: a fifth of the steps at half the resolution first": coarse_first,
    "half resolution and pixel shuffle": lambda recipe: replace(recipe, network=PixelShuffle),
    "frozen convolutions, optimised latent": lambda recipe: replace(recipe, network=random_projector, optimise="both", lr=0.05),
}
"""Name of a variant -> the change it makes to the preset's recipe."""


def measure(path: Path, task: str, name: str, size: int, runs: int | None) -> dict[str, Any]:
    """Fit a variant with each seed and return its row."""
    case = make_case(path, task, size)
    recipe = VARIANTS[name](presets.fast(case.task))
    recipe = replace(recipe, runs=runs or recipe.runs)
    hd.restore(case.task, preset=recipe, steps=2, runs=1, device="cpu", progress=False)
    started = time.process_time()
    result = hd.restore(case.task, preset=recipe, device="cpu", progress=False)
    return {
        "image": path.name,
        "task": task,
        "size": size,
        "variant": name,
        "steps": [fit.steps for fit in result.fits],
        "single": statistics.mean(metrics.psnr(case.task.finish(fit.image), case.reference) for fit in result.fits),
        "mean": metrics.psnr(result.image, case.reference),
        "processor_seconds": time.process_time() - started,
        "threads": torch.get_num_threads(),
        "processor": processor(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; each figure is a mean over the images."""
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    lines = ["| changed | " + " | ".join(f"{task}: one fit, mean of all, time" for task in tasks) + " |"]
    lines += ["|---" * (len(tasks) + 1) + "|"]
    for name in VARIANTS:
        cells = []
        for task in tasks:
            own, preset = ([row for row in rows if (row["variant"], row["task"]) == (v, task)] for v in (name, "the preset"))
            if own and preset:
                single, mean = (statistics.mean(row[key] for row in own) for key in ("single", "mean"))
                times = [time for row in own for time in relative_times(row, preset)]
                cells.append(f"{single:.2f}, {mean:.2f} dB, {statistics.mean(times) if times else float('nan'):.1f}")
            else:
                cells.append("")
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def relative_times(row: dict[str, Any], preset: list[dict[str, Any]]) -> list[float]:
    """Seconds over those of the preset for the same image and processor; empty where the preset was not timed."""
    same = [other for other in preset if (other["image"], other["processor"]) == (row["image"], row["processor"])]
    return [row["processor_seconds"] / other["processor_seconds"] for other in same[:1]]


def main() -> None:
    """Fit the variants that are not in the JSON file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", help="clean images")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME", help="names as in --list"
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS[:2]), choices=TASKS, help="tasks to fit")
    parser.add_argument("--json", type=Path, help="file of the results; finished variants in it are not fitted again")
    parser.add_argument("--size", type=int, default=128, help="side of the centre crop; use one file for each size")
    parser.add_argument(
        "--runs", type=int, help="fits of each variant, by default as many as the preset; use one file for each"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the fits")
    parser.add_argument("--list", action="store_true", help="print the variants' names and end")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the table of earlier results and end")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(VARIANTS))
        return
    if arguments.show:
        print(table(json.loads(arguments.show.read_text())))
        return
    if not arguments.images or arguments.json is None:
        parser.error("give --images and --json")
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    there = {(row["image"], row["task"], row["variant"]) for row in rows}
    here = {(row["image"], row["task"], row["variant"]) for row in rows if row["processor"] == processor()}
    for path in arguments.images:
        for name in arguments.variants:
            for task in arguments.tasks:
                known = here if name == "the preset" else there  # the preset is timed again on each processor
                if (path.name, task, name) not in known:
                    rows.append(measure(path, task, name, arguments.size, arguments.runs))
                    write_text(arguments.json, json.dumps(rows, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    with one_sentence("variants.py"):
        main()
