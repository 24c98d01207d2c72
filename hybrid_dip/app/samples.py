"""Photographs that come with scikit-image, degraded, for a first try; the clean one is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from hybrid_dip.images.files import save_image
from hybrid_dip.recipes.written_task import WrittenTask
from hybrid_dip.study.describe.sources import SKIMAGE, Source

SIDE = 128
"""Pixels of a sample's side."""


@dataclass(frozen=True)
class Sample:
    """A photograph, and what is done to it.

    Attributes:
        photograph: Name in scikit-image.
        corner: (top, left) of the part that is taken.
        task: What is done to it.
        known: Options of the degradation that the restoration is told as well.
        more: Its other options.
    """

    photograph: str
    corner: tuple[int, int]
    task: str
    known: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write its files.

        Args:
            folder: An empty folder.

        Returns:
            "image" -> the degraded file, "clean" -> the clean one, and for masked ones "mask".
        """
        clean = Source(self.photograph, SKIMAGE + self.photograph, (*self.corner, SIDE, SIDE)).load()
        given = {**self.known, **self.more}
        if self.task == "inpaint":
            given["mask"] = _scratched(folder / "scratches.png")
        case = WrittenTask(self.task, given, lambda mask: mask).case(clean)
        names = {"image": self.photograph, "clean": "clean"} | ({} if case.task.weight is None else {"mask": "mask"})
        files = {what: folder / f"{name}.png" for what, name in names.items()}
        for what, image in {"image": case.task.observation, "clean": case.reference, "mask": case.task.weight}.items():
            if image is not None:
                save_image(image, files[what])
        return files


SAMPLES = {
    "portrait with noise": Sample("astronaut", (40, 160), "denoise", {"sigma": 25}, {"clip": True}),
    "cup with scratches": Sample("coffee", (140, 220), "inpaint"),
    "cat, half of its pixels missing": Sample("chelsea", (60, 110), "missing-pixels", {}, {"share": 0.5}),
    "rocket, half as large": Sample("rocket", (90, 260), "super-resolve", {"factor": 2}),
    "photographer, blurred": Sample("camera", (60, 170), "deblur", {"psf": "gaussian:1.6", "sigma": 2}),
    "helmet, compressed as JPEG": Sample("astronaut", (300, 330), "jpeg", {}, {"quality": 10}),
}
"""What it is -> sample."""


def _scratched(path: Path) -> Path:
    """Write a mask with a few black lines, which are to be filled in."""
    mask = Image.new("L", (SIDE, SIDE), 255)
    for line in ((10, 20, 110, 44), (20, 100, 118, 78), (50, 8, 66, 120), (96, 10, 84, 70)):
        ImageDraw.Draw(mask).line(line, fill=0, width=3)
    mask.save(path)
    return path
