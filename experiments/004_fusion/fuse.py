"""Is a stack of priors, weighed by held-out data, ever worse than its best arm? And is it better where it should be?

    python experiments/004_fusion/fuse.py fit     # eight images of scikit-image, four tasks; goes on where it stopped
    python experiments/004_fusion/fuse.py check   # super-resolution of four more images
    python experiments/004_fusion/fuse.py table   # from results.csv and fresh.csv

Arms: `dip` (preset `fast`), `patch` (the same with non-local similarity, balanced at the rho that experiment 002 chose on other
images) and `learned` (the bundled denoiser: once, or in turn with the observation where pixels are missing). The stack takes
a fit of each to the replicate that is judged, and a fit to all data, and brings what `hybrid_dip.fusion.stacking.brought`
makes of them. Compared at equal compute: two seeds of both, averaged. The primary is the stack with maps allowed ("stack");
"one weight an image" is beside it, and "stack without the judged fits", which takes the fits to all data only.
README.md says what was changed
after which cases were known.

The tasks are Gaussian noise of sigma 25; photon noise (15 photons at white) that all arms are told is Gaussian, of the level
that is estimated from the image; half of the pixels missing; super-resolution x4.
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import one_sentence
from hybrid_dip.fusion.stacking import OTHER_SEED, Arm, averages, brought, combined, default_selection, no_hooks
from hybrid_dip.fusion.weights import combine
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import replacing, write_text
from hybrid_dip.images.figures import save_figure, save_maps, subplots
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.presets import fast
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import NonLocal
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.stopping.selection import HeldOut, Selection
from hybrid_dip.study.describe.sources import Source
from hybrid_dip.study.reporting.statistics import interval

HERE = Path(__file__).parent
RESULTS, CHECKED = HERE / "results.csv", HERE / "fresh.csv"
COLUMNS = ("image", "task", "arm", "psnr", "ssim", "weight")
SIDE = 128
IMAGES = {
    "coffee": Source("coffee", "skimage:coffee", None, SIDE),
    "cat": Source("cat", "skimage:chelsea", None, SIDE),
    "face": Source("face", "skimage:astronaut", (50, 160, 128, 128), None),
    "brick": Source("brick", "skimage:brick", None, SIDE),
    "document": Source("document", "skimage:page", (30, 30, 128, 128), None),
    "drawing": Source("drawing", "skimage:logo", (120, 180, 128, 128), None),
    "pattern": Source("pattern", "skimage:checkerboard", (13, 13, 128, 128), None),
    "tissue": Source("tissue", "skimage:immunohistochemistry", None, SIDE),
}
FRESH = {name: Source(name, f"skimage:{name}", None, SIDE) for name in ("rocket", "gravel", "coins", "camera")}
"""Of which nothing was known when the last change was made; super-resolution only, which is all that it changed."""


def told_gaussian(clean: Tensor) -> Case:
    """Photon noise that passes for Gaussian noise of the estimated level."""
    case = degradations.noisy(clean, noise="poisson", peak=15)
    return replace(case, task=tasks.denoise(case.task.observation))


TASKS: dict[str, Callable[[Tensor], Case]] = {
    "denoise": lambda clean: degradations.noisy(clean, sigma=25 / 255),
    "mismatched": told_gaussian,
    "missing-pixels": lambda clean: degradations.scattered(clean, share=0.5),
    "super-resolve": lambda clean: degradations.downsampled(clean, factor=4),
}


def once(task: Task) -> Recipe:
    """`fast` with one fit."""
    return replace(fast(task), runs=1)


def learned(task: Task) -> Recipe:
    """The denoiser once, or in turn with the observation where that is not a whole image."""
    one_shot = task.name == "denoise" and task.weight is None
    return resolve(f"{'one-shot' if one_shot else 'plug-and-play'}:denoiser=bundled", task)


def arms() -> list[Arm]:
    """The three of the stack."""
    patch = (Term(NonLocal(), Balanced(1.0), "non-local"),)
    return [Arm("dip", once), Arm("patch", once, patch), Arm("learned", learned)]


def images_of(image: str, name: str) -> dict[str, Any]:
    """What all arms make of a case: `judged` of the replicate, `own` of all data, `second` of all data with another seed.

    They are kept (but not in the repository), so that another way to combine them needs no fit.
    """
    place = HERE / "images" / f"{image}-{name}.pt"
    if place.exists():
        kept: dict[str, Any] = torch.load(place, weights_only=True)
        return kept
    task = TASKS[name]((IMAGES | FRESH)[image].load()[:, :3]).task
    replicates = selection(name, task).replicates(task)
    run = partial(Arm.run, device="cpu", hooks=no_hooks)
    own = {arm.name: run(arm, task, arm.name, seed=0) for arm in arms()}
    judged = {arm.name: run(arm, replicates[0].task, arm.name, seed=OTHER_SEED).raw for arm in arms()}
    found: dict[str, Any] = {
        "own": {arm: result.raw for arm, result in own.items()},
        "judged": judged,
        "second": {arm.name: run(arm, task, arm.name, seed=1).raw for arm in arms()[:2]},
        "brought": dict(zip(own, brought(task, replicates, list(own.values()), [list(judged.values())]), strict=True)),
    }
    place.parent.mkdir(exist_ok=True)
    with replacing(place) as temporary:
        torch.save(found, temporary)
    return found


def selection(name: str, task: Task) -> Selection:
    """Which data judge: where the noise is not what it is said to be, not the bootstrap."""
    return HeldOut() if name == "mismatched" else default_selection(task)


def rows_of(image: str, name: str) -> list[dict[str, Any]]:
    """All arms and their combinations on one case."""
    case = TASKS[name]((IMAGES | FRESH)[image].load()[:, :3])
    task = case.task
    (replicate,) = selection(name, task).replicates(task)
    made = images_of(image, name)
    own, second, whole = made["own"], made["second"], list(made["brought"].values())
    judged = [list(made["judged"].values())]
    maps = combine(judged, [replicate.judge])
    plain = combine(judged, [replicate.judge], local=False)
    images = {
        **own,
        "dip x 2": (own["dip"] + second["dip"]) / 2,
        "patch x 2": (own["patch"] + second["patch"]) / 2,
        "dip x 2 + patch x 2": (own["dip"] + own["patch"] + second["dip"] + second["patch"]) / 4,
        "stack": combined(task, maps, whole),
        "stack (one weight an image)": combined(task, plain, whole),
        "stack without the judged fits": combined(task, maps, list(own.values())),
        **({ALONE: maps(whole)} if averages(task) else {}),
    }
    if maps.maps is not None:
        place = HERE / "pictures"
        place.mkdir(exist_ok=True)
        save_maps(place / f"{image}-{name}.png".replace(" ", "-"), dict(zip(own, maps.maps, strict=True)))
    weights = dict(zip(own, plain.weights.tolist(), strict=True)) | {"stack": float(maps.maps is not None)}
    return [
        {
            "image": image,
            "task": name,
            "arm": arm,
            "psnr": round(metrics.psnr(task.finish(x), case.reference), 4),
            "ssim": round(metrics.ssim(task.finish(x), case.reference), 4),
            "weight": round(weights[arm], 4) if arm in weights else "",
        }
        for arm, x in images.items()
    ]


def fit(images: list[str], names: list[str], place: Path = RESULTS) -> None:
    """Every case that is not in the table yet."""
    there: list[dict[str, Any]] = list(csv.DictReader(place.open())) if place.exists() else []
    done = {(row["image"], row["task"]) for row in there}
    for image in images:
        for name in names:
            if (image, name) in done:
                continue
            there += rows_of(image, name)
            lines = [",".join(COLUMNS), *(",".join(str(row[column]) for column in COLUMNS) for row in there)]
            write_text(place, "\n".join(lines) + "\n")
            print(f"{image}, {name}", flush=True)


ALONE = "stack by held-out data alone"
"""What the stack was before the last change; in super-resolution only is it another one."""
SINGLE = ("dip", "patch", "learned", "dip x 2", "patch x 2")


def rows(found: pd.DataFrame) -> list[str]:
    """PSNR of each arm in each case, and by how much the stack is above the best single arm (an oracle's choice)."""
    wide = found.pivot(index=["task", "image"], columns="arm", values="psnr")
    shown = [*SINGLE, "dip x 2 + patch x 2", "stack without the judged fits", "stack (one weight an image)", ALONE, "stack"]
    lines = ["| task | image | " + " | ".join(shown) + " | stack - best single |", "|---" * (len(shown) + 3) + "|"]
    above = wide["stack"] - wide[list(SINGLE)].max(axis=1)
    for (task, image), row in wide.iterrows():
        cells = " | ".join(f"{row[arm]:.2f}" if pd.notna(row[arm]) else "" for arm in shown)
        lines.append(f"| {task} | {image} | {cells} | {above[task, image]:+.2f} dB |")
    return lines


def table(found: pd.DataFrame) -> list[str]:
    """The rows, and what they come to."""
    wide = found.pivot(index=["task", "image"], columns="arm", values="psnr")
    above = wide["stack"] - wide[list(SINGLE)].max(axis=1)
    lines = rows(found)
    never = int((above >= -0.1).sum())
    lines.append("")
    lines.append(f"Within 0.1 dB of the best single arm or above it: {never} of {len(above)} cases.")
    equal = wide["stack"] - wide["dip x 2 + patch x 2"]
    for task in dict.fromkeys(above.index.get_level_values(0)):
        lines.append(f"{task}: {_mean(above[task])} against the best single arm, {_mean(equal[task])} against equal compute.")
    harder = [task for task in TASKS if task != "denoise"]
    lines.append(
        f"All but denoise: {_mean(above[harder])} against the best single arm, {_mean(equal[harder])} against equal compute."
    )
    return lines


def _mean(gains: pd.Series) -> str:
    """Over cases, with its interval over images."""
    own = gains.groupby(level="image").mean()
    low, high = interval(own)
    return f"{own.mean():+.2f} dB [{low:+.2f}, {high:+.2f}]"


def draw(found: pd.DataFrame) -> None:
    """PSNR of the stack against that of the best single arm: a dot a case, a colour a task."""
    wide = found.pivot(index=["task", "image"], columns="arm", values="psnr")
    above = wide["stack"] - wide[list(SINGLE)].max(axis=1)
    images = list(dict.fromkeys(found["image"]))
    figure, axes = subplots(1, 1, (7, 3.6))
    axis = axes[0, 0]
    for number, task in enumerate(TASKS):
        known = [image for image in images if (task, image) in above.index]
        places = [images.index(image) + 0.15 * (number - 1.5) for image in known]
        axis.plot(places, [above[task, image] for image in known], "o", color=f"C{number}", label=task)
    axis.axhline(0, color="black", linewidth=1)
    axis.axhline(-0.1, color="grey", linewidth=1, linestyle=":")
    axis.set_xticks(range(len(images)), images)
    axis.set(ylabel="stack - best single arm (dB)")
    axis.grid(alpha=0.3, axis="y")
    axis.legend(fontsize="small")
    (HERE / "pictures").mkdir(exist_ok=True)
    save_figure(figure, HERE / "pictures" / "stack.png")


def main() -> None:
    """Fit, or print the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES))
    fitting.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    commands.add_parser("check")
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.command == "fit":
        torch.set_num_threads(1)
        fit(asked.images, asked.tasks)
    if asked.command == "check":
        torch.set_num_threads(1)
        fit(list(FRESH), ["super-resolve"], CHECKED)
    found = pd.read_csv(RESULTS)
    draw(found)
    print("\n".join(table(found)))
    if CHECKED.exists():
        print("\n".join(rows(pd.read_csv(CHECKED))))


if __name__ == "__main__":
    with one_sentence("fuse.py"):
        main()
