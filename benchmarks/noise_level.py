"""How often is the level of the noise told within a tenth? hd.noise.estimate against scikit-image's estimate_sigma.

    python benchmarks/noise_level.py                     # sample images of scikit-image
    python benchmarks/noise_level.py --images FOLDER --count 40

prints a table with a row for each kind of noise. Of each image the upper left 320x320 pixels are taken. The true level is the
root mean square of noisy less clean, clipping and JPEG included.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError, one_sentence
from hybrid_dip.images.files import load_image
from hybrid_dip.problem.camera import as_jpeg, demosaic, draw_camera, mosaic_of, take_photograph
from hybrid_dip.problem.noise_by_detail import estimate_sigma
from hybrid_dip.problem.noise_estimate import estimate

SIDE = 320
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry")
WITHIN = 0.1

IN_FILES = ((15, 70), (15, 85), (30, 85), (6, 95))
"""Levels, and the qualities of the JPEG files they are in."""

Draw = torch.Generator
Kind = Callable[[Tensor, Draw], tuple[Tensor, Tensor]]
"""A clean image, a generator -> noisy, and what it is without noise."""


def white(level: float, quality: int | None = None) -> Kind:
    """White noise of a level of 255; in a JPEG file, if it has a quality."""

    def make(x: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        noisy = x + level / 255 * torch.randn(x.shape, generator=draw)
        return (noisy if quality is None else as_jpeg(noisy.clamp(0, 1), quality)), x

    return make


def photons(peak: float, read: float = 0.0) -> Kind:
    """Photon noise, by the number of photons at white, plus Gaussian noise of a level of 255."""

    def make(x: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        return torch.poisson(peak * x, generator=draw) / peak + read / 255 * torch.randn(x.shape, generator=draw), x

    return make


def demosaiced(level: float) -> Kind:
    """White noise of a level of 255 on a Bayer mosaic, which is demosaiced with it and without."""

    def make(x: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        mosaic = mosaic_of(x)
        return demosaic(mosaic + level / 255 * torch.randn(mosaic.shape, generator=draw)), demosaic(mosaic)

    return make


def photograph(x: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """A photograph by a camera."""
    return take_photograph(x, draw_camera(draw), draw)


KINDS: dict[str, Kind] = {
    **{f"Gaussian {level}": white(level) for level in (5, 10, 25, 50, 75)},
    **{f"photons, {peak} at white": photons(peak) for peak in (10, 60, 500)},
    "photons, 100 at white, and Gaussian 5": photons(100, 5),
    **{f"demosaiced, Gaussian {level} before": demosaiced(level) for level in (5, 15, 30)},
    **{f"Gaussian {level}, JPEG {quality}": white(level, quality) for level, quality in IN_FILES},
    "a camera's photograph": photograph,
}


def off(found: float | None, true: float) -> float:
    """|log of the ratio|, infinite where nothing was told."""
    return math.inf if found is None else abs(math.log(max(found, 1e-9) / true))


def told(image: Tensor) -> float | None:
    """The level by this package, or None."""
    try:
        return estimate(image).sigma
    except SettingsError:
        return None


def share(values: list[float]) -> str:
    """How many are within a tenth."""
    return f"{sum(value < math.log(1 + WITHIN) for value in values)} of {len(values)}"


def median(values: list[float]) -> str:
    """The median of how far it is off."""
    return f"{100 * (math.exp(sorted(values)[len(values) // 2]) - 1):.0f} %"


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of clean photographs; by default sample images of scikit-image")
    parser.add_argument("--count", type=int, default=20, help="how many of them, spread over the folder")
    given = parser.parse_args()
    paths = [f"skimage:{name}" for name in SAMPLES] if given.images is None else sorted(map(str, given.images.iterdir()))
    paths = paths[:: max(1, len(paths) // given.count)][: given.count]
    images = [load(path)[:, :3, :SIDE, :SIDE] for path in paths]
    print(f"{len(images)} images\n")
    print("| noise | within a tenth | half are off by less than | scikit-image | off by |\n|---|---|---|---|---|")
    every: list[tuple[float, float]] = []
    for name, make in KINDS.items():
        rows = []
        for number, image in enumerate(images):
            noisy, clean = make(image, torch.Generator().manual_seed(number))
            true = float((noisy - clean).square().mean().sqrt())
            rows.append((off(told(noisy), true), off(estimate_sigma(noisy), true)))
        ours, theirs = map(list, zip(*rows, strict=True))
        print(f"| {name} | {share(ours)} | {median(ours)} | {share(theirs)} | {median(theirs)} |", flush=True)
        every += rows
    ours, theirs = map(list, zip(*every, strict=True))
    print(f"| all | {share(ours)} | {median(ours)} | {share(theirs)} | {median(theirs)} |")


def load(path: str) -> Tensor:
    """An image file, or a sample image."""
    if not path.startswith("skimage:"):
        return load_image(path)
    from skimage import data

    found = getattr(data, path.removeprefix("skimage:"))()
    return torch.from_numpy(found).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    with one_sentence("noise_level.py"):
        main()
