"""Real photographs, whose noise is not known: the image's own prior, learned ones, and both.

    python experiments/010_real_photographs/photographs.py learned --images CC15 POLYU    # whole images, without a fit: minutes
    python experiments/010_real_photographs/photographs.py fit --images CC15 POLYU        # centres of 96x96: 5 minutes each
    python experiments/010_real_photographs/photographs.py table                          # the tables and pictures

A folder holds pairs NAME_noisy.png and NAME_clean.png (CC15, Nam et al. 2016), or the folders noisy/ and clean/ with files of
one name (PolyU, Xu et al. 2018). No arm is told anything of the noise. Rows that are in results.csv are not made again.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, one_sentence
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.fusion.arms import Arm
from hybrid_dip.fusion.stacking import stack
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import write_text
from hybrid_dip.images.figures import draw_comparison, save_figure
from hybrid_dip.images.files import crop_to_centre
from hybrid_dip.recipes.presets import fast
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import NonLocal
from hybrid_dip.restoring.hooks import FitHooks

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
COLUMNS = ("set", "image", "part", "arm", "psnr", "ssim")
WHOLE, CENTRE = "whole", "centre"
SIDE = 96
SHOWN = 3
"""Which image of each folder is shown."""


def pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, noisy file and clean file of each pair in a folder."""
    if (folder / "noisy").is_dir():
        for noisy in sorted((folder / "noisy").iterdir()):
            yield noisy.stem, noisy, folder / "clean" / noisy.name
        return
    found = sorted(folder.glob("*_noisy.png"))
    if not found:
        raise SettingsError(f"{folder} holds no pairs: NAME_noisy.png and NAME_clean.png, or noisy/ and clean/, were expected.")
    for noisy in found:
        yield noisy.stem.removesuffix("_noisy"), noisy, noisy.with_name(noisy.name.replace("_noisy", "_clean"))


def once(task: Task) -> Recipe:
    """The preset `fast` with one fit."""
    return replace(fast(task), runs=1)


def learned(noisy: Tensor, task: Task) -> dict[str, Tensor]:
    """What needs no fit."""
    by_detail = hd.tasks.denoise(noisy, sigma=hd.noise.estimate_sigma(noisy))
    bundled, camera = "one-shot:denoiser=bundled", "one-shot:denoiser=camera"
    return {
        "noisy": noisy,
        "learned (Gaussian, finest detail)": hd.restore(by_detail, preset=bundled, progress=False).image,
        "learned (Gaussian)": hd.restore(task, preset=bundled, progress=False).image,
        "learned (camera)": hd.restore(task, preset=camera, progress=False).image,
    }


BEST = "fit, its best iterate (oracle)"


def fitted(noisy: Tensor, clean: Tensor, task: Task) -> tuple[dict[str, Tensor], float]:
    """Fits to a part of an image and the stack of both priors, and the PSNR of the fit's best iterate, which is an oracle's."""
    watch = ReferenceWatch(task, clean)
    patch = (hd.Term(NonLocal(), hd.schedules.Balanced(1.0), "non-local"),)
    arms = [Arm("fit", once), Arm("patch", once, patch), Arm("learned (camera)", "one-shot:denoiser=camera")]
    both = stack(task, arms, device="cpu", progress=False, hooks=lambda name: FitHooks([watch] if name.arm == "fit" else []))
    images = {**learned(noisy, task), "fit": both.arms["fit"].image, "patch": both.arms["patch"].image, "both": both.image}
    return images, max(watch.psnr.values())


def measure(folders: list[Path], part: str) -> None:
    """Measure every image that is not in the results yet; the fourth of each folder is shown as well."""
    results = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=list(COLUMNS))
    for folder in folders:
        for number, (name, *files) in enumerate(pairs(folder)):
            if ((results["set"] == folder.name) & (results.image == name) & (results.part == part)).any():
                continue
            noisy, clean = (hd.load_image(file) for file in files)
            noise = hd.noise.estimate(noisy, sure=False)  # of the whole photograph
            if part == CENTRE:
                noisy, clean = crop_to_centre(noisy, SIDE), crop_to_centre(clean, SIDE)
            task = hd.tasks.denoise(noisy, noise=noise)
            images, best = (learned(noisy, task), None) if part == WHOLE else fitted(noisy, clean, task)
            images = {arm: x.clamp(0, 1) for arm, x in images.items()}
            values: list[tuple[object, ...]] = [
                (folder.name, name, part, arm, round(metrics.psnr(x, clean), 3), round(metrics.ssim(x, clean), 4))
                for arm, x in images.items()
            ]
            if best is not None:
                values.append((folder.name, name, part, BEST, round(best, 3), None))
            results = pd.concat([results, pd.DataFrame(values, columns=list(COLUMNS))], ignore_index=True)
            write_text(RESULTS, results.to_csv(index=False, lineterminator="\n"))
            if number == SHOWN:
                HERE.joinpath("pictures").mkdir(exist_ok=True)
                shown = {arm: crop_to_centre(x, SIDE) for arm, x in {**images, "clean": clean}.items()}
                save_figure(draw_comparison(shown), HERE / "pictures" / f"{folder.name}-{part}.png")
            print(folder.name, name, part, flush=True)


def table() -> None:
    """Print the mean PSNR of each arm, for each set and part."""
    results = pd.read_csv(RESULTS)
    for (name, part), rows in results.groupby(["set", "part"], sort=False):
        print(f"\n{name}, {part}, {rows.image.nunique()} images\n\n| arm | PSNR | SSIM |\n|---|---|---|")
        for arm, of in rows.groupby("arm", sort=False):
            ssim = "" if of.ssim.isna().all() else f"{of.ssim.mean():.3f}"
            print(f"| {arm} | {of.psnr.mean():.2f} dB | {ssim} |")


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["learned", "fit", "table"])
    parser.add_argument("--images", type=Path, nargs="+", default=[], help="folders of pairs")
    given = parser.parse_args()
    if given.what == "table":
        table()
    else:
        measure(given.images, WHOLE if given.what == "learned" else CENTRE)


if __name__ == "__main__":
    with one_sentence("photographs.py"):
        main()
