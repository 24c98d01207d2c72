"""What each choice in the preset ``fast`` gives: the preset with one thing changed, on training images.

    python benchmarks/variants.py --images photo.png --json out.json
    python benchmarks/variants.py --list
    python benchmarks/variants.py --show out.json

Each variant is fitted with two seeds on the centre 128x128 pixels, denoised (sigma 25) and super-resolved (x4). The table has
the mean PSNR of a single fit, that of the mean of both images, the same for all images a task, and the time a step against the
preset's, both timed beside each other. What is finished is kept in the JSON file, so that the command can be interrupted.
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
from hybrid_dip import latents, metrics, networks, optimizers, presets, schedules
from hybrid_dip.files import write_text
from hybrid_dip.presets import Recipe

TASKS = ("denoise", "super-resolve")


def width(channels: int, steps: float = 1.0) -> Callable[[Recipe], Recipe]:
    """Another width at every scale, with another number of steps."""
    network = partial(presets.EVEN, down=(channels,) * 5, up=(channels,) * 5)
    return lambda recipe: replace(recipe, network=network, steps=round(steps * recipe.steps))


def network(**changed: Any) -> Callable[[Recipe], Recipe]:
    """Options of the network."""
    return lambda recipe: replace(recipe, network=partial(presets.EVEN, **changed))


def adam(first: float, second: float) -> Callable[[Recipe], Recipe]:
    """Other decays of Adam."""
    return lambda recipe: replace(recipe, optimizer=partial(optimizers.adam, betas=(first, second)))


class Shuffled(nn.Module):
    """A network at half the resolution whose outputs are the four pixels of each place."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        trunk = partial(networks.skip, down=(64,) * 4, skip=(4,) * 4, upsample="bilinear", padding="reflection")
        self.trunk = trunk(in_channels, 4 * out_channels, sigmoid=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W) for z of (1, C', H, W), of which every other pixel is read."""
        return torch.sigmoid(nn.functional.pixel_shuffle(self.trunk(z[..., ::2, ::2]), 2))


def frozen(in_channels: int, out_channels: int) -> nn.Module:
    """Convolutions as they were drawn; the norms, and the latent, are optimised (Deep Random Projector, CVPR 2023)."""
    made = presets.EVEN(in_channels, out_channels)
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            layer.requires_grad_(False)
    return made


VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    "the preset": lambda recipe: recipe,
    "Adam with betas 0.9, 0.999": adam(0.9, 0.999),
    "Adam with betas 0.9, 0.95": adam(0.9, 0.95),
    "Adam without a mean of gradients: betas 0, 0.9": adam(0.0, 0.9),
    "twice the learning rate": lambda recipe: replace(recipe, lr=0.01),
    "half the learning rate": lambda recipe: replace(recipe, lr=0.0025),
    "learning rate falling to 0 (cosine)": lambda recipe: replace(recipe, lr_schedule=schedules.Cosine(1, 0)),
    "the average of the original (0.99)": lambda recipe: replace(recipe, average=0.99),
    "no average": lambda recipe: replace(recipe, average=None),
    "half the jitter": lambda recipe: replace(recipe, jitter=recipe.jitter / 2),
    "a latent of 16 channels": lambda recipe: replace(recipe, latent=partial(latents.uniform, channels=16)),
    "width 16": width(16),
    "width 64, half of the steps": width(64, 0.5),
    "width 128, a quarter of the steps": width(128, 0.25),
    "narrow at the top: 16, 32, 64, 128, 128": network(down=(16, 32, 64, 128, 128), up=None),
    "no 1x1 convolutions": network(pointwise_up=False),
    "skips of 16 channels": network(skip=(16,) * 5),
    "no skips": network(skip=(0,) * 5),
    "nearest upsampling": network(upsample="nearest"),
    "half resolution and pixel shuffle": lambda recipe: replace(recipe, network=Shuffled),
    "frozen convolutions, optimised latent": lambda recipe: replace(recipe, network=frozen, optimise="both", lr=0.05),
}
"""Name -> what is changed."""


def measure(path: Path, task: str, name: str) -> dict[str, Any]:
    """Fit a variant with two seeds."""
    case = make_case(path, task, 128)
    recipe = VARIANTS[name](presets.fast(case.task))
    preset = presets.fast(case.task)
    hd.restore(case.task, preset=preset, steps=2, runs=1, device="cpu")
    beside = _seconds_per_step(case.task, preset)
    started = time.perf_counter()
    found = hd.restore(case.task, preset=recipe, device="cpu")
    return {
        "image": path.name,
        "task": task,
        "variant": name,
        "steps": recipe.steps,
        "single": statistics.mean(metrics.psnr(case.task.finish(one.image), case.reference) for one in found.fits),
        "mean": metrics.psnr(found.image, case.reference),
        "seconds": time.perf_counter() - started,
        "relative": _seconds_per_step(case.task, recipe) / beside,
        "threads": torch.get_num_threads(),
        "processor": processor(),
    }


def _seconds_per_step(task: hd.Task, recipe: Recipe) -> float:
    started = time.perf_counter()
    hd.restore(task, preset=recipe, steps=8, runs=1, device="cpu")
    return (time.perf_counter() - started) / 8


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, means over the images."""
    lines = ["| changed | " + " | ".join(f"{task}: one fit, mean of two" for task in TASKS) + " | time a step |"]
    lines += ["|---" * (len(TASKS) + 2) + "|"]
    for name in VARIANTS:
        cells = []
        for task in TASKS:
            own = [row for row in rows if (row["variant"], row["task"]) == (name, task)]
            means = [statistics.mean(row[key] for row in own) for key in ("single", "mean") if own]
            cells.append(", ".join(f"{mean:.2f}" for mean in means))
        times = [row["relative"] for row in rows if row["variant"] == name]
        if times:
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {statistics.median(times):.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Fit what is not in the JSON file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", help="clean images")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--json", type=Path, help="file to write, and to go on from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the variants' names and end")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the table of earlier results and end")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(VARIANTS))
        return
    if asked.show:
        print(table(json.loads(asked.show.read_text())))
        return
    if not asked.images or asked.json is None:
        parser.error("give --images and --json")
    torch.set_num_threads(asked.threads)
    rows: list[dict[str, Any]] = json.loads(asked.json.read_text()) if asked.json.exists() else []
    there = {(row["image"], row["task"], row["variant"]) for row in rows}
    for path in asked.images:
        for name in asked.variants:
            for task in asked.tasks:
                if (path.name, task, name) not in there:
                    rows.append(measure(path, task, name))
                    write_text(asked.json, json.dumps(rows, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
