"""The options that commands share: groups of them, each a frozen dataclass, and single ones.

The text under a field is its help, and ``lr_schedule`` is written ``--lr-schedule``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from torch import Tensor

from hybrid_dip.cli.quiet import set_quiet
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import crop_picture, crop_to_centre, load_image
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.reading import read_picture
from hybrid_dip.recipes import spec_files
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.study.describe.methods import LIST_KINDS, SPEC_KINDS

OPTIONS = Group("Options", sort_key=1)
WRONG = Group("What is wrong with the image", sort_key=2)
HOW = Group("How it is fitted", sort_key=3)
WHERE = Group("Where, and how long", sort_key=4)

Image = Annotated[Path, Parameter(help="An image file: PNG, JPEG, TIFF (8 or 16 bit), or .npy (H, W[, C]) in [0, 1].")]
CleanImages = Annotated[list[str], Parameter(help="Clean images: files, folders, globs or skimage:NAME.")]
ResultFolderPath = Annotated[Path, Parameter(("--out", "-o"), help="Result folder.")]
OutFile = Annotated[Path, Parameter(("--out", "-o"), help="File to write.")]
Seeds = Annotated[tuple[int, ...], Parameter("--seed", group=HOW, help="Seed of the fits; repeatable. Default 0.")]
Quiet = Annotated[bool, Parameter(validator=set_quiet, help="No progress, no messages.")]
Overwrite = Annotated[bool, Parameter(help="Replace the results that are there.")]
AsJson = Annotated[bool, Parameter("--json", help="One JSON document on stdout.")]


def entry(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as a table of a study file.

    Args:
        values: Option, in Python's spelling -> value.

    Returns:
        Without what was left out, for a study file knows no null; files by absolute paths.
    """
    specs = {*SPEC_KINDS, *LIST_KINDS, "operator"}
    return {name: _absolute(value, name in specs) for name, value in values.items() if value is not None and value != ()}


def _absolute(value: Any, is_spec: bool) -> Any:
    if isinstance(value, tuple):
        return [_absolute(one, is_spec) for one in value]
    if isinstance(value, Path):
        return str(value.absolute())
    return spec_files.locate(value, Path.cwd()) if is_spec else value


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of an image is used."""

    crop: int | None = None
    """Use only the centre, this many pixels a side."""

    def read(self, path: Path) -> Picture:
        """Read the part of a picture, with its alpha channel."""
        check_at_least_one(crop=1 if self.crop is None else self.crop)
        return crop_picture(read_picture(path), self.crop)

    def cut(self, image: Tensor) -> Tensor:
        """Cut what lies over the picture, such as a mask."""
        return image if self.crop is None else crop_to_centre(image, self.crop)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Source(Part):
    """Which part of an image is used, and what the result is compared with."""

    reference: Path | None = None
    """The clean image, only to measure by; no fit sees it."""

    def clean(self, picture: Picture, task: Task) -> Tensor | None:
        """Read the reference, cut as the picture was."""
        if self.reference is None or self.crop is None:
            return None if self.reference is None else load_image(self.reference)
        scale = max(1, task.shape[-1] // picture.pixels.shape[-1])
        return crop_to_centre(load_image(self.reference), self.crop, scale)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go."""

    out: ResultFolderPath
    gif: bool = False
    """Also write fit.gif, the fit as an animation."""
    log: str | None = None
    """Also log the fit: tensorboard (into tensorboard/ of the result folder) or wandb."""
    resume: bool = False
    """Go on where the same command stopped."""
    overwrite: Overwrite = False
    quiet: Quiet = False


def check_new(*paths: Path, overwrite: bool) -> None:
    """Refuse to write files whose folder is missing, or that are there already.

    Args:
        paths: Files to be written.
        overwrite: They may be replaced.

    Raises:
        SettingsError: A folder is missing, or a file is there.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise SettingsError(f"There is no folder {path.parent} to write {path.name} to.")
        if path.exists() and not overwrite:
            raise SettingsError(f"{path} exists; add --overwrite to replace it.")
