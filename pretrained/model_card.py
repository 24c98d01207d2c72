"""The model card of a denoiser: what it is, what it was trained on, and what it reaches on images it has not seen."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.images import metrics
from hybrid_dip.images.files import fingerprint, load_image
from hybrid_dip.problem.noise import add_gaussian

LEVELS = (15, 25, 50)
"""Of the noise, of 255."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif"}


LICENCE = "Whoever trained it has not said. It was learnt from the photographs above, in which others may have rights."
"""Where whoever trained it does not say another one."""


def content(image: Tensor) -> str:
    """SHA-256 of the pixels of a photograph, whatever file they are in.

    Args:
        image: (1, C, H, W), C 1, 3 or more, of which the first three count.

    Returns:
        In hexadecimal.
    """
    return fingerprint(image[:, :3].expand(-1, 3, -1, -1))


def luminance(x: Tensor) -> Tensor:
    """Grey of colour: (N, 3, H, W) -> (N, 1, H, W), by the weights of ITU-R 601."""
    return (x * torch.tensor([0.299, 0.587, 0.114]).to(x).view(3, 1, 1)).sum(1, keepdim=True)


def photographs(folder: Path) -> list[Path]:
    """The image files in a folder and the folders in it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def measured(denoiser: Callable[[Tensor, float], Tensor], folder: Path) -> dict[tuple[str, int], tuple[float, float]]:
    """Mean PSNR over a folder of photographs, with Gaussian noise that is not clipped; results are clamped to [0, 1].

    Args:
        denoiser: (x, sigma) -> x.
        folder: Of photographs in colour.

    Returns:
        ("colour" or "grey", level) -> noisy and denoised, in dB; the noisy one not clamped.
    """
    files = photographs(folder)
    sums: dict[tuple[str, int], Tensor] = {}
    for number, file in enumerate(tqdm(files, desc="measuring", unit="image")):
        image = load_image(file)[:, :3]
        for kind, clean in {"colour": image, "grey": luminance(image)}.items():
            for level in LEVELS:
                noisy = add_gaussian(clean, level / 255, seed=number)
                with torch.no_grad():
                    found = denoiser(noisy, level / 255).clamp(0, 1)
                pair = torch.tensor([metrics.psnr(noisy, clean), metrics.psnr(found, clean)])
                sums[kind, level] = sums.get((kind, level), torch.zeros(2)) + pair
    return {key: (float(total[0] / len(files)), float(total[1] / len(files))) for key, total in sums.items()}


def table(found: Mapping[tuple[str, int], tuple[float, float]]) -> list[str]:
    """Lines of Markdown of what :func:`measured` found."""
    lines = ["| | " + " | ".join(f"sigma {level}" for level in LEVELS) + " |", "|---" * (len(LEVELS) + 1) + "|"]
    for kind in ("colour", "grey"):
        for part, what in enumerate(("noisy", "denoised")):
            cells = [f"{found[kind, level][part]:.2f} dB" for level in LEVELS]
            lines.append(f"| {kind}, {what} | " + " | ".join(cells) + " |")
    return lines


def write_card(
    path: Path,
    *,
    parameters: int,
    weights: Path,
    data: Path,
    trained_on: int,
    seen: Sequence[str],
    settings: Mapping[str, Any],
    hours: float,
    machine: Mapping[str, Any],
    test: Path,
    found: Mapping[tuple[str, int], tuple[float, float]],
    licence: str = LICENCE,
) -> None:
    """Write the card.

    Args:
        path: Of the file.
        parameters: Of the network.
        weights: Its file.
        data: Folder of the photographs.
        trained_on: How many of them.
        seen: What :func:`content` says of these, and of those that were only looked at.
        settings: Of the training.
        hours: That it took.
        machine: Where.
        test: Folder of the photographs that it was measured on.
        found: From :func:`measured`.
        licence: What the card says about it.
    """
    tested = [content(load_image(file)) for file in photographs(test)]
    known = sum(each in set(seen) for each in tested)
    said = f"**The training has seen {known} of them** (by the SHA-256 of their pixels), so that this says too much"
    if not known:
        said = "None has the pixels of a photograph that the training has seen (by SHA-256, which finds no other crop or copy)"
    options = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = [
        "# A denoiser for colour and grey images",
        "",
        f"`{weights.name}`: {parameters / 1e6:.2f} million parameters in half precision, {weights.stat().st_size / 1e6:.1f} "
        "MB. Takes an image in [0, 1] with white Gaussian noise, and the noise level, a number or a map, from 0 to 75 of 255; "
        "gives the image without it. The network is in `bundled.py`: a U-Net without biases on half the resolution.",
        "",
        "## What it reaches",
        "",
        f"Means of PSNR on the {len(tested)} photographs of `{test.name}`, with noise that is not clipped. {said}:",
        "",
        *table(found),
        "",
        "## How it was trained",
        "",
        f"- On {trained_on} photographs of `{data.name}` and their copies at 0.8 of the size: {options}.",
        "- Noise levels uniform from 0 to 75, a quarter of the patches grey, mean absolute error, Adam with half a cosine, an "
        "average of the weights along the way.",
        f"- {hours:.1f} hours on {machine['device_name']} ({machine['threads']} thread(s), torch {machine['torch']}).",
        "",
        "## What it is not for",
        "",
        "Noise of cameras and JPEG artefacts are not white Gaussian noise; what it makes of them was not measured. It invents "
        "nothing: at high noise levels it is smooth where it cannot know, and told a level below about 5 it may take a "
        "photograph's own grain for the noise.",
        "",
        "## Licence",
        "",
        licence,
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
