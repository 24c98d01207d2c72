"""The model card of a denoiser: what it is, what it was trained on, and its PSNR on other images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.images import metrics
from hybrid_dip.images.files import fingerprint, load_image
from hybrid_dip.problem.noise import add_gaussian

LEVELS = (15, 25, 50)
"""Noise levels, of 255."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif"}


LICENCE = "Not stated. It was learnt from the photographs above, in which others may have rights."
"""Text for a denoiser whose author gives no licence."""


def content(image: Tensor) -> str:
    """SHA-256 of the pixels of a photograph, in whatever file they are.

    Args:
        image: (1, C, H, W), C 1, 3 or more, of which the first three count.

    Returns:
        The hash in hexadecimal.
    """
    return fingerprint(image[:, :3].expand(-1, 3, -1, -1))


def luminance(x: Tensor) -> Tensor:
    """Grey of colour: (N, 3, H, W) -> (N, 1, H, W), by the weights of ITU-R 601."""
    return (x * torch.tensor([0.299, 0.587, 0.114]).to(x).view(3, 1, 1)).sum(1, keepdim=True)


def photographs(folder: Path) -> list[Path]:
    """The image files in a folder and the folders in it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def measure(denoiser: Callable[[Tensor, float], Tensor], folder: Path) -> dict[tuple[str, int], tuple[float, float]]:
    """Measure the mean PSNR over a folder of photographs, with Gaussian noise that is not clipped.

    Args:
        denoiser: (x, sigma) -> x; its results are clamped to [0, 1].
        folder: Folder of photographs in colour.

    Returns:
        ("colour" or "grey", level) -> PSNR of the noisy images, which are not clamped, and of the denoised ones, in dB.
    """
    files = photographs(folder)
    sums: dict[tuple[str, int], Tensor] = {}
    for number, file in enumerate(tqdm(files, desc="measuring", unit="image")):
        image = load_image(file)[:, :3]
        for kind, clean in {"colour": image, "grey": luminance(image)}.items():
            for level in LEVELS:
                noisy = add_gaussian(clean, level / 255, seed=number)
                with torch.no_grad():
                    denoised = denoiser(noisy, level / 255).clamp(0, 1)
                pair = torch.tensor([metrics.psnr(noisy, clean), metrics.psnr(denoised, clean)])
                sums[kind, level] = sums.get((kind, level), torch.zeros(2)) + pair
    return {key: (float(total[0] / len(files)), float(total[1] / len(files))) for key, total in sums.items()}


def table(psnr: Mapping[tuple[str, int], tuple[float, float]]) -> list[str]:
    """What :func:`measure` returned, as lines of Markdown."""
    lines = ["| | " + " | ".join(f"sigma {level}" for level in LEVELS) + " |", "|---" * (len(LEVELS) + 1) + "|"]
    for kind in ("colour", "grey"):
        for part, what in enumerate(("noisy", "denoised")):
            cells = [f"{psnr[kind, level][part]:.2f} dB" for level in LEVELS]
            lines.append(f"| {kind}, {what} | " + " | ".join(cells) + " |")
    return lines


@dataclass(frozen=True)
class About:
    """What the cards of all denoisers of a kind of noise say.

    Attributes:
        title: The heading.
        takes: What it takes and returns.
        measured: What the table shows, after "Mean PSNR on the ... photographs of ...".
        scaled: At which sizes the photographs were taken.
        learned: How the patches were made.
        limits: What it is not for.
    """

    title: str
    takes: str
    measured: str
    scaled: str
    learned: str
    limits: str


GAUSSIAN = About(
    "A denoiser for colour and grey images",
    "It takes an image in [0, 1] with white Gaussian noise, and the noise level, a number or a map, from 0 to 75 of 255; it "
    "returns the image without the noise.",
    "with noise that is not clipped",
    "and their copies at 0.8 of the size",
    "Noise levels uniform from 0 to 75, a quarter of the patches grey",
    "Noise of cameras and JPEG artefacts are not white Gaussian noise; its results on them were not measured. It invents "
    "nothing: at high noise levels it is smooth where it cannot know. For a noise level below about 5 it may take a "
    "photograph's own grain for noise.",
)
CAMERA = About(
    "A denoiser for photographs as cameras take them",
    "It takes a photograph in [0, 1] as a camera's file has it, and the deviation of its noise, a number or a map; without one "
    "it takes what the image itself tells (`hybrid-dip noise`). It returns the photograph without the noise.",
    "as synthetic cameras take them (`hybrid_dip/problem/camera.py`), and of the same photographs without noise, told nothing",
    "and their copies at 0.6 of the size, both through a lens that blurs their own grain away",
    "Photographs by synthetic cameras of ISO 800 to 25600, told a level that is off by a fifth; a quarter of the patches are "
    "good files, told what the noise network takes their detail for; the weights of `denoiser.md` to begin with, and at the "
    "end the mean of those and of what was learnt",
    "White noise, for which `denoiser.safetensors` is better. The cameras are a model, made with real pairs in view "
    "(`experiments/010_real_photographs`). It is as good as the level that it is told.",
)


@dataclass(frozen=True)
class Card:
    """What the card of a trained denoiser says.

    Attributes:
        about: What it says of all denoisers of this kind.
        parameters: Number of the network's parameters.
        weights: File of the weights.
        data: Folder of the photographs that it was trained on.
        trained_on: Number of these photographs.
        seen: Hashes by :func:`content` of these, and of those that were held back.
        settings: Settings of the training.
        hours: Hours that the training took.
        machine: What :func:`hybrid_dip.execution.devices.describe` says of the machine.
        test: Folder of the photographs that it was measured on.
        figures: The table of what was measured, lines of Markdown.
        licence: Text under the heading of that name.
    """

    about: About
    parameters: int
    weights: Path
    data: Path
    trained_on: int
    seen: Sequence[str]
    settings: Mapping[str, Any]
    hours: float
    machine: Mapping[str, Any]
    test: Path
    figures: Sequence[str]
    licence: str = LICENCE

    def write(self, path: Path) -> None:
        """Write the card to a file."""
        options = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        device, threads, torch_version = (self.machine[name] for name in ("device_name", "threads", "torch"))
        lines = [
            f"# {self.about.title}",
            "",
            f"`{self.weights.name}`: {self.parameters / 1e6:.2f} million parameters in half precision, "
            f"{self.weights.stat().st_size / 1e6:.1f} MB. {self.about.takes} The network is in `bundled.py`: a U-Net without "
            "biases on half the resolution.",
            "",
            "## What it reaches",
            "",
            self._tested_on(),
            "",
            *self.figures,
            "",
            "## How it was trained",
            "",
            f"- On {self.trained_on} photographs of `{self.data.name}`, {self.about.scaled}: {options}.",
            f"- {self.about.learned}, mean absolute error, Adam with half a cosine, an average of the weights along the way.",
            f"- {self.hours:.1f} hours on {device} ({threads} thread(s), torch {torch_version}).",
            "",
            "## What it is not for",
            "",
            self.about.limits,
            "",
            "## Licence",
            "",
            self.licence,
            "",
        ]
        path.write_text("\n".join(lines), encoding="utf-8")

    def _tested_on(self) -> str:
        """The photographs that it was measured on, and whether the training has seen them."""
        tested = [content(load_image(file)) for file in photographs(self.test)]
        known = sum(each in set(self.seen) for each in tested)
        said = "None has the pixels of a photograph that the training has seen (by SHA-256, which finds no other crop or copy)"
        if known:
            said = f"**The training has seen {known} of them** (by the SHA-256 of their pixels), so these figures are too high"
        return f"Mean PSNR on the {len(tested)} photographs of `{self.test.name}`, {self.about.measured}. {said}:"
