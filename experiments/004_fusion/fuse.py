"""Is a stack of priors, with weights from held-out data, ever worse than its best arm? How much better is it elsewhere?

    python experiments/004_fusion/fuse.py fit     # eight images of scikit-image, four tasks; resumes after an interruption
    python experiments/004_fusion/fuse.py check   # super-resolution of four more images
    python experiments/004_fusion/fuse.py table   # the tables, cases.md and the figure, from results.csv and fresh.csv

The arms are `dip` (preset `fast`), `patch` (the same with non-local similarity, at the rho that experiment 002 chose on other
images) and `learned` (the bundled denoiser: once, or in turn with the observation where pixels are missing). The stack uses
two fits of each arm, one to all data and one to the data that are not held out. At equal compute stands the mean of `dip` and
`patch`, two seeds each. "stack" may weigh each pixel differently; "stack (one weight an image)" may not; "stack without the
judged fits" uses the fits to all data only. README.md says what was changed after which cases were known.

The tasks are Gaussian noise of sigma 25; photon noise (15 photons at white) that all arms take for Gaussian noise of the level
estimated from the image; half of the pixels missing; super-resolution x4.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import one_sentence
from hybrid_dip.fusion.arms import Arm
from hybrid_dip.fusion.stacking import OTHER_SEED, averages, combine_arms, contributions, default_selection
from hybrid_dip.fusion.weights import combine
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import replacement, write_text
from hybrid_dip.images.figures import save_figure, save_maps, subplots
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.problem.noise_by_detail import estimate_sigma
from hybrid_dip.recipes.presets import fast
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import NonLocal
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.hooks import no_hooks
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
"""Images of which nothing was known when the last change was made. It changed super-resolution only."""


def mismatched_noise(clean: Tensor) -> Case:
    """Photon noise that the task takes for Gaussian noise of the estimated level."""
    case = degradations.noisy(clean, noise="poisson", peak=15)
    y = case.task.observation
    return replace(case, task=tasks.denoise(y, sigma=estimate_sigma(y)))


TASKS: dict[str, Callable[[Tensor], Case]] = {
    "denoise": lambda clean: degradations.noisy(clean, sigma=25 / 255),
    "mismatched": mismatched_noise,
    "missing-pixels": lambda clean: degradations.scattered(clean, share=0.5),
    "super-resolve": lambda clean: degradations.downsampled(clean, factor=4),
}


def once(task: Task) -> Recipe:
    """The preset `fast` with one fit."""
    return replace(fast(task), runs=1)


def learned(task: Task) -> Recipe:
    """The denoiser once, or in turn with the observation where that is not a whole image."""
    one_shot = task.name == "denoise" and task.weight is None
    return resolve(f"{'one-shot' if one_shot else 'plug-and-play'}:denoiser=bundled", task)


def arms() -> list[Arm]:
    """The three arms of the stack."""
    patch = (Term(NonLocal(), Balanced(1.0), "non-local"),)
    return [Arm("dip", once), Arm("patch", once, patch), Arm("learned", learned)]


def images_of(image: str, name: str) -> dict[str, Any]:
    """The images of all arms for a case: `own` from all data, `judged` from the replicate, `second` from another seed.

    They are kept beside this file, outside the repository, so that another way to combine them needs no fit.
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
    images: dict[str, Any] = {
        "own": {arm: result.raw for arm, result in own.items()},
        "judged": judged,
        "second": {arm.name: run(arm, task, arm.name, seed=1).raw for arm in arms()[:2]},
        "brought": dict(zip(own, contributions(task, replicates, list(own.values()), [list(judged.values())]), strict=True)),
    }
    place.parent.mkdir(exist_ok=True)
    with replacement(place) as temporary:
        torch.save(images, temporary)
    return images


def selection(name: str, task: Task) -> Selection:
    """The data that judge the arms; not the bootstrap where its noise level would be wrong."""
    return HeldOut() if name == "mismatched" else default_selection(task)


def rows_of(image: str, name: str) -> list[dict[str, Any]]:
    """The rows of one case: all arms and their combinations."""
    case = TASKS[name]((IMAGES | FRESH)[image].load()[:, :3])
    task = case.task
    (replicate,) = selection(name, task).replicates(task)
    fits = images_of(image, name)
    own, second, whole = fits["own"], fits["second"], list(fits["brought"].values())
    judged = [list(fits["judged"].values())]
    maps = combine(judged, [replicate.judge])
    plain = combine(judged, [replicate.judge], local=False)
    images = {
        **own,
        "dip x 2": (own["dip"] + second["dip"]) / 2,
        "patch x 2": (own["patch"] + second["patch"]) / 2,
        "dip x 2 + patch x 2": (own["dip"] + own["patch"] + second["dip"] + second["patch"]) / 4,
        "stack": combine_arms(task, maps, whole),
        "stack (one weight an image)": combine_arms(task, plain, whole),
        "stack without the judged fits": combine_arms(task, maps, list(own.values())),
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
    """Fit every case that is not in the results yet."""
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
"""The stack before the last change, which changed it in super-resolution only."""
SINGLE = ("dip", "patch", "learned", "dip x 2", "patch x 2")
EQUAL = "dip x 2 + patch x 2"
SHOWN = (*SINGLE, EQUAL, "stack without the judged fits", "stack (one weight an image)", ALONE, "stack")
MARGIN = 0.1
"""How far below the best single arm, in dB, still counts as not worse."""


def pivot(results: pd.DataFrame) -> pd.DataFrame:
    """PSNR in dB: one row for each task and image, one column for each arm."""
    return results.pivot(index=["task", "image"], columns="arm", values="psnr")


def gains(psnr: pd.DataFrame) -> pd.Series:
    """The stack's PSNR less that of the best single arm, which is an oracle's choice."""
    return psnr["stack"] - psnr[list(SINGLE)].max(axis=1)


def cases(psnr: pd.DataFrame, arms: Sequence[str] = SHOWN) -> list[str]:
    """The table with one row for each case."""
    lines = ["| task | image | " + " | ".join(arms) + " | stack - best single |", "|---" * (len(arms) + 3) + "|"]
    gain = gains(psnr)
    for (task, image), row in psnr.iterrows():
        cells = " | ".join(f"{row[arm]:.2f}" if pd.notna(row.get(arm)) else "" for arm in arms)
        lines.append(f"| {task} | {image} | {cells} | {gain[task, image]:+.2f} dB |")
    return lines


def failures(psnr: pd.DataFrame) -> list[str]:
    """The rows of the cases in which the stack is worse than its best single arm."""
    return cases(psnr[gains(psnr) < -MARGIN], (*SINGLE, "stack"))


def summary(psnr: pd.DataFrame) -> list[str]:
    """The table with one row for each task, then one for all tasks but denoising, then one for all."""
    gain, equal = gains(psnr), psnr["stack"] - psnr[EQUAL]
    groups = {task: [task] for task in TASKS}
    groups |= {"all but denoise": [task for task in TASKS if task != "denoise"], "all": list(TASKS)}
    lines = ["| task | not worse | stack - best single arm | stack - equal compute |", "|---|---|---|---|"]
    for name, group in groups.items():
        own, other = (values[values.index.isin(group, level="task")] for values in (gain, equal))
        lines.append(f"| {name} | {int((own >= -MARGIN).sum())} of {len(own)} | {_mean(own)} | {_mean(other)} |")
    return lines


def _mean(gains: pd.Series) -> str:
    """The mean over the cases with its interval over images."""
    own = gains.groupby(level="image").mean()
    low, high = interval(own)
    return f"{own.mean():+.2f} dB [{low:+.2f}, {high:+.2f}]"


def case_list(psnr: pd.DataFrame, fresh: pd.DataFrame) -> str:
    """The text of cases.md."""
    lines = ["# PSNR in every case, in dB", "", "Written by `python experiments/004_fusion/fuse.py table`.", "", *cases(psnr)]
    lines += [
        "",
        "Super-resolution of four images of which nothing was known when the last change was made:",
        "",
        *cases(fresh),
    ]
    return "\n".join(lines) + "\n"


def draw(psnr: pd.DataFrame) -> None:
    """Draw the stack against the best single arm: one dot for each case, one colour for each task."""
    gain = gains(psnr)
    images = list(IMAGES)
    figure, axes = subplots(1, 1, (7, 3.6))
    axis = axes[0, 0]
    for number, task in enumerate(TASKS):
        known = [image for image in images if (task, image) in gain.index]
        places = [images.index(image) + 0.15 * (number - 1.5) for image in known]
        axis.plot(places, [gain[task, image] for image in known], "o", color=f"C{number}", label=task)
    axis.axhline(0, color="black", linewidth=1)
    axis.axhline(-0.1, color="grey", linewidth=1, linestyle=":")
    axis.set_xticks(range(len(images)), images)
    axis.set(ylabel="stack - best single arm (dB)")
    axis.grid(alpha=0.3, axis="y")
    axis.legend(fontsize="small")
    (HERE / "pictures").mkdir(exist_ok=True)
    save_figure(figure, HERE / "pictures" / "stack.png")


def main() -> None:
    """Fit, then print the tables, write cases.md and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("fit", help="fit the cases that are not in results.csv yet")
    first.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES), help="images to fit")
    first.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS), help="tasks to fit")
    commands.add_parser("check", help="fit the four fresh images")
    commands.add_parser("table", help="print the tables, write cases.md and draw the figure")
    arguments = parser.parse_args()
    if arguments.command == "fit":
        torch.set_num_threads(1)
        fit(arguments.images, arguments.tasks)
    if arguments.command == "check":
        torch.set_num_threads(1)
        fit(list(FRESH), ["super-resolve"], CHECKED)
    psnr, fresh = pivot(pd.read_csv(RESULTS)), pivot(pd.read_csv(CHECKED))
    draw(psnr)
    write_text(HERE / "cases.md", case_list(psnr, fresh))
    print("\n".join([*summary(psnr), "", *failures(psnr), "", *cases(fresh, (*SINGLE, ALONE, "stack"))]))


if __name__ == "__main__":
    with one_sentence("fuse.py"):
        main()
