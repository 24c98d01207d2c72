"""The options that say what is wrong with an image, or what is done to a clean one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import Parameter
from torch import Tensor

from hybrid_dip.cli.options import WRONG, Part, entry
from hybrid_dip.contracts import Case, Task
from hybrid_dip.images.picture import Picture
from hybrid_dip.recipes.written_task import WrittenTask


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What can be wrong with an image."""

    task: str
    """What is wrong with it; see `hybrid-dip list tasks`."""
    sigma: float | None = None
    """Level of Gaussian noise, 0..255; denoise estimates it if left out."""
    noise: str | None = None
    """Noise model: gaussian (default), poisson, l1 (salt and pepper, outliers), speckle, or camera."""
    mask: Path | None = None
    """Mask file: white (255) or opaque = known pixel, black (0) or transparent = to fill in."""
    factor: int | None = None
    """Super-resolution: whole number, default 4."""
    kernel: str | None = None
    """Super-resolution: lanczos2 (default), lanczos3, gauss12, gauss1sq2, box, bicubic."""
    psf: str | None = None
    """Deblurring: a grey image or .npy file, or gaussian:SIGMA in pixels."""
    pattern: str | None = None
    """Demosaicing: RGGB (default), BGGR, GRBG or GBRG."""
    quality: int | None = None
    """JPEG: quality that it was saved with; restore reads it from a JPEG file if left out."""
    operator: str | None = None
    """linear: what measured the image, NAME, file.py:name or module:name, with options."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the task, None where one was left out."""
        return {name: None if value is False else value for name, value in vars(self).items() if name != "task"}


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Observation(Degradation):
    """What is wrong with an image that is degraded already."""

    guide: Path | None = None
    """Flash/no-flash: the photograph with flash."""
    shape: str | None = None
    """linear: H,W or C,H,W of the image to restore, by default its own."""

    def make(self, picture: Picture, part: Part) -> Task:
        """Make the task that restores a picture."""
        return WrittenTask(self.task, self.options, part.cut).task(picture)

    def entry(self) -> dict[str, Any]:
        """The task as a study file has it."""
        psf = self.psf if self.psf is None or not Path(self.psf).is_file() else Path(self.psf)
        return {"kind": self.task, "observed": True, **entry({**self.options, "psf": psf})}


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Simulation(Degradation):
    """What is done to a clean image."""

    task: str
    """What to do to it; see `hybrid-dip list degradations`."""
    sigma: float | None = None
    """Level of Gaussian noise, 0..255."""
    kernel: str | None = None
    """Super-resolution: pil (default, as the original) or as in restore."""
    peak: float | None = None
    """Poisson noise: photons at white."""
    looks: float | None = None
    """Speckle: how many intensities are averaged."""
    share: float | None = None
    """Share of pixels kept (missing-pixels) or hit (salt and pepper)."""
    per: str | None = None
    """missing-pixels: whole pixels (pixel) or single channels (entry)."""
    clip: bool = False
    """Clip Gaussian noise to [0, 1], as the original does."""

    def make(self, clean: Tensor, part: Part, seed: int | None) -> Case:
        """Degrade a clean image."""
        return WrittenTask(self.task, {**self.options, "seed": seed}, part.cut).case(clean)
