"""A restored image: as a tensor, an array or a PIL image, in a file, and before one's eyes."""

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from hybrid_dip.contracts import Fit, Record, Task
from hybrid_dip.images import figures
from hybrid_dip.images.files import save_image
from hybrid_dip.images.kinds import AnyImage, as_given
from hybrid_dip.images.notebook import in_notebook
from hybrid_dip.images.pillow_images import as_pillow
from hybrid_dip.problem.given import finite_image
from hybrid_dip.problem.masks import known_pixels
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.panels import panels
from hybrid_dip.restoring.writer import check_reference

NOTEBOOK_WIDTH, NOTEBOOK_QUALITY = 900, 80
"""Pixels across, and JPEG quality, of pictures in a notebook. Noise does not compress: of 300x900 pixels it takes 120 kB."""


@dataclass(frozen=True, eq=False, repr=False)
class Result(Record):
    """A restored image; with several runs, their average.

    Attributes:
        image: The finished image, (1, C, H, W) on the CPU: clamped, known pixels pasted back.
        raw: The image before finishing: the network's kept output, averaged over runs, refined where the recipe says so.
        last: The last iterate, averaged over runs and finished.
        deviation: Standard deviation of each pixel, (1, C, H, W): between the runs' finished images, or of a single run's
            samples where its solver draws some; else None.
        fits: The fit of each seed, in order.
        seeds: The seeds.
        recipe: What was fitted.
        terms: Name -> weight, as text.
        seconds: Seconds of all fits and of refining.
        parameters: Number of trainable numbers in the network.
        hardware: Device, threads and versions.
        task: What was restored, on the CPU.
        reference: The clean image, (1, C, H, W), where a case was restored. No fit has seen it.
        psnr: Logged step -> PSNR of the finished image along the first seed's fit, in dB, where a case was restored as a whole.
    """

    image: Tensor
    raw: Tensor
    last: Tensor
    deviation: Tensor | None
    fits: tuple[Fit, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    terms: dict[str, str]
    seconds: float
    parameters: int
    task: Task
    hardware: dict[str, Any] = field(default_factory=dict)
    reference: Tensor | None = None
    psnr: Mapping[int, float] = field(default_factory=dict)

    def numpy(self) -> npt.NDArray[np.float32]:
        """The image as an array (H, W, C), or (H, W) where it is grey; floats in [0, 1], or of the task's range."""
        array: npt.NDArray[np.float32] = as_given(self.image, np.empty((1, 1), np.float32))
        return array

    def pil(self) -> Image.Image:
        """The image as a PIL image of 8 bits, mode L or RGB.

        Raises:
            ImageFileError: It has neither one nor three channels.
        """
        return as_pillow(self.task.in_unit_range(self.image, self.reference))

    def save(self, path: str | Path, *, like: str | Path | None = None) -> None:
        """Write the image.

        Args:
            path: The file to write; its suffix chooses the format. ``.npy`` keeps all digits.
            like: The degraded file, whose transparency, depth, colour profile and dates are taken over. What was filled in is
                opaque.

        Raises:
            ImageFileError: The format cannot hold the image.
            StorageError: The file cannot be written.
        """
        whole = Path(path).suffix.lower() == ".npy"
        image = self.image if whole else self.task.in_unit_range(self.image, self.reference)
        save_image(image, path, like=like, mask=known_pixels(self.task))

    def comparison(self, reference: AnyImage | None = None) -> Image.Image:
        """The observation, the image, and the clean one where there is one, side by side with their PSNR.

        Args:
            reference: The clean image, of any kind; None for that of the case which was restored, if any.

        Returns:
            A picture.

        Raises:
            SettingsError: The clean image has not the size of this one, or is none.
        """
        clean = self.reference if reference is None else finite_image(reference, "The reference")
        check_reference(clean, self.task)
        return _picture(figures.draw_comparison(panels(self.task, {"restored": self.image}, clean)))

    def show(self, reference: AnyImage | None = None) -> None:
        """Show :meth:`comparison`: in a notebook below the cell, else in the viewer of the desktop."""
        picture = self.comparison(reference)
        if in_notebook():
            from IPython.display import display

            display(picture)
        else:
            picture.show()

    def settings(self) -> str:
        """How it came about, in one line."""
        first = self.fits[0]
        parts = [
            self.task.name,
            f"{len(self.fits)} x {first.steps} steps" if len(self.fits) > 1 else f"{first.steps} steps",
            f"ended by {first.reason}",
            f"kept step {first.kept_at}",
            f"{self.seconds:.0f} s",
            ", ".join(f"{name} {weight}" for name, weight in self.terms.items()),
        ]
        return "; ".join(filter(None, parts))

    def _repr_html_(self) -> str:
        """Comparison, curves and settings, for a notebook."""
        pictures = [self.comparison()]
        rows = [
            {**row, **({"psnr": self.psnr[step]} if (step := int(row["step"])) in self.psnr else {})}
            for row in self.fits[0].history
        ]
        if len(rows) > 1:
            pictures.append(_picture(figures.draw_curves(rows, list(self.terms), self.fits[0].kept_at)))
        return f"<div>{''.join(map(_as_html, pictures))}{html.escape(self.settings())}</div>"


def _picture(figure: Any) -> Image.Image:
    return Image.open(io.BytesIO(figures.as_png(figure))).convert("RGB")


def _as_html(picture: Image.Image) -> str:
    picture.thumbnail((NOTEBOOK_WIDTH, NOTEBOOK_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=NOTEBOOK_QUALITY)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"><br>'
