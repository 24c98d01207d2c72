"""What is written of a restored image, whether one fit, a fusion or a study has made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.images import figures, metrics
from hybrid_dip.images.files import save_image
from hybrid_dip.images.picture import Picture
from hybrid_dip.problem.masks import known_pixels
from hybrid_dip.problem.operators import border_of
from hybrid_dip.restoring.manifest import HISTORY, MANIFEST, write_history, write_manifest
from hybrid_dip.restoring.panels import panels


@dataclass(frozen=True, eq=False)
class ResultWriter:
    """Writes the files of one result.

    Attributes:
        folder: The folder, which exists.
        task: What was restored.
        reference: The clean image, (1, C, H, W), or None.
    """

    folder: Path
    task: Task
    reference: Tensor | None = None

    def save(self, name: str, image: Tensor, picture: Picture) -> None:
        """Write NAME.png with the alpha channel, bit depth, colour profile, resolution and dates of the degraded image.

        What was filled in is opaque. Where the degraded image was an array, or the image is neither grey nor in colour, or not
        in [0, 1], NAME.npy is written as well.

        Args:
            name: Name of the files, without a suffix.
            image: (1, C, H, W), finished.
            picture: The degraded image as it was read.
        """
        shown = self._visible(image)
        save_image(shown, self.folder / f"{name}.png", like=picture, mask=known_pixels(self.task))
        if picture.is_array or image.shape[1] not in (1, 3) or self.task.value_range != (0, 1):
            self.save_array(f"{name}.npy", image)

    def save_array(self, file: str, values: Tensor) -> None:
        """Write numbers (1, C, H, W) into a file NAME.npy, as (H, W, C)."""
        save_image(values, self.folder / file)

    def show(self, file: str, image: Tensor) -> None:
        """Write a picture NAME.png of a finished image, whatever channels it has."""
        self.show_map(file, self._visible(image))

    def show_map(self, file: str, values: Tensor) -> None:
        """Write a picture NAME.png of numbers in [0, 1], (1, C, H, W), one for each pixel."""
        save_image(figures.visible_channels(values).clamp(0, 1), self.folder / file)

    def _visible(self, image: Tensor) -> Tensor:
        shown = image if image.shape[1] in (1, 3) else figures.visible_channels(image)
        return self.task.in_unit_range(shown, self.reference).clamp(0, 1)

    def compare(self, images: Mapping[str, Tensor]) -> None:
        """Draw comparison.png: the observation where it is an image, some images, and the clean one where there is one.

        Args:
            images: Title -> finished image, (1, C, H, W). The PSNR is added to the title where there is a clean image.
        """
        drawn = figures.draw_comparison(panels(self.task, images, self.reference))
        figures.save_figure(drawn, self.folder / "comparison.png")

    def _unit(self, image: Tensor) -> Tensor:
        return self.task.in_unit_range(image, self.reference)

    def measure(self, image: Tensor, raw: Tensor) -> dict[str, Any]:
        """The metrics of an image, as the manifest has them.

        Args:
            image: Finished, (1, C, H, W).
            raw: Before finishing.

        Returns:
            {"metrics": {...}} with psnr (finished), psnr_raw (the network's output), ssim, and for super-resolution psnr_y,
            with its border as "psnr_y_border" beside "metrics"; {} where there is no clean image.
        """
        if self.reference is None:
            return {}
        image, raw, reference = (self._unit(x) for x in (image, raw, self.reference))
        values = {
            "psnr": metrics.psnr(image, reference),
            "psnr_raw": metrics.psnr(raw, reference),
            "ssim": metrics.ssim(image, reference),
        }
        border = border_of(self.task)
        if border is None or self.task.shape[1] not in (1, 3):
            return {"metrics": values}
        return {"metrics": {**values, "psnr_y": metrics.psnr_y(image, reference, border)}, "psnr_y_border": border}

    def closing_words(self, ended: str, image: Tensor, raw: Tensor, pictures: Sequence[str]) -> str:
        """What a person wants to read at the end.

        Args:
            ended: How it ended, in a line, or "".
            image: Finished, (1, C, H, W).
            raw: Before finishing.
            pictures: Files to look at.

        Returns:
            That line with the metrics where there is a clean image, and where to look.
        """
        values = self.measure(image, raw).get("metrics", {})
        measured = ", ".join(f"{name} {value:.2f}" + (" dB" if "psnr" in name else "") for name, value in values.items())
        said = "; ".join(filter(None, [ended, measured]))
        look = f"Look at {' and '.join(str(self.folder / name) for name in pictures)}."
        return "\n".join(filter(None, [said, look]))

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv."""
        write_history(self.folder / HISTORY, rows)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write run.json, which comes last: with it a result is complete."""
        write_manifest(self.folder / MANIFEST, manifest)


def check_reference(reference: Tensor | None, task: Task) -> None:
    """Refuse a clean image that has not the size of the result.

    Args:
        reference: The clean image, or None.
        task: What is restored.

    Raises:
        SettingsError: It has another size or number of channels.
    """
    if reference is not None and tuple(reference.shape) != tuple(task.shape):
        have, need = reference.shape, task.shape
        raise SettingsError(
            f"The reference is {have[-1]}x{have[-2]} with {have[1]} channels, the result {need[-1]}x{need[-2]} with {need[1]}; "
            "the same was expected."
        )


def describe_stop(fit: Fit) -> dict[str, Any]:
    """How a fit ended, as the manifest has it."""
    return {"reason": fit.reason, "kept_at": fit.kept_at, "steps": fit.steps}


def describe_time(seconds: float, steps: int) -> dict[str, float]:
    """How long a restoration took, as the manifest has it.

    Args:
        seconds: Seconds of all its fits.
        steps: Steps of all its fits.

    Returns:
        The entries "seconds" and "seconds_per_step".
    """
    return {"seconds": seconds, "seconds_per_step": seconds / max(1, steps)}


def history_rows(
    seeds: Sequence[int], fits: Sequence[Fit], watches: Mapping[int, ReferenceWatch], *, with_seed: bool = True
) -> list[dict[str, float]]:
    """The histories of several seeds' fits in one table.

    Args:
        seeds: The seeds.
        fits: The fit of each.
        watches: Seed -> PSNR of the finished image along its fit; seeds and steps may be missing.
        with_seed: Whether a column says which seed a row is of.

    Returns:
        The rows.
    """
    rows = []
    for seed, fit in zip(seeds, fits, strict=True):
        psnr = watches[seed].psnr if seed in watches else {}
        for row in fit.history:
            step = int(row["step"])
            named = {"seed": float(seed)} if with_seed else {}
            rows.append({**named, **row, **({"psnr": psnr[step]} if step in psnr else {})})
    return rows
