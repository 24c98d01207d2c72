"""Where a study's images come from: files, folders, globs, and scikit-image's own photographs."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.errors import ImageFileError, SettingsError, nearest, shorten_error
from hybrid_dip.images.files import crop_picture, crop_to_centre, load_image
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.reading import read_picture
from hybrid_dip.study.describe.sections import UNFIT, ImageEntry
from hybrid_dip.study.describe.settings import place

SKIMAGE = "skimage:"
_NO_IMAGES = {"data_dir", "download_all", "file_hash", "lbp_frontal_face_cascade_filename"}


@dataclass(frozen=True)
class Source:
    """One image.

    Attributes:
        name: Its name in the results.
        path: A file, or ``skimage:NAME``.
        box: (top, left, height, width) of a part that is cut out first, or None.
        crop: Side of the centre crop of what is left, or None.
        reference: File of the clean image, where this is a degraded one and the clean one is known.
    """

    name: str
    path: str
    box: tuple[int, int, int, int] | None = None
    crop: int | None = None
    reference: str | None = None

    def with_crop(self, crop: int | None) -> "Source":
        """The same image with another centre crop, where one is given."""
        return self if crop is None else replace(self, crop=crop)

    def cut(self, x: Tensor, scale: int = 1) -> Tensor:
        """Cut out the part that is used, also of what lies over the image, such as a mask.

        Args:
            x: (1, C, H, W).
            scale: How many times x is as large as the image.

        Returns:
            (1, C, h, w).

        Raises:
            SettingsError: The box reaches beyond the image.
        """
        if self.box is not None:
            top, left, height, width = (scale * side for side in self.box)
            if min(top, left) < 0 or min(height, width) < 1 or top + height > x.shape[-2] or left + width > x.shape[-1]:
                raise SettingsError(
                    f"The crop {list(self.box)} (top, left, height, width) reaches beyond {self.path}, which is "
                    f"{x.shape[-2]} pixels high and {x.shape[-1]} wide."
                )
            x = x[..., top : top + height, left : left + width]
        return (x if self.crop is None else crop_to_centre(x, self.crop, scale)).contiguous()

    def load(self) -> Tensor:
        """Read the image.

        Returns:
            (1, C, H, W) in [0, 1], cropped.

        Raises:
            FileNotFoundError: There is no such file.
            ImageFileError: It cannot be read, or is no photograph.
            SettingsError: The box reaches beyond the image.
        """
        return self.cut(_load(self.path))

    def picture(self) -> Picture:
        """Read the image, with all that its file says of it.

        Returns:
            The picture, cropped.

        Raises:
            FileNotFoundError: There is no such file.
            ImageFileError: It cannot be read, or is no photograph.
            SettingsError: The box reaches beyond the image.
        """
        if self.path.startswith(SKIMAGE):
            return Picture(self.load())
        picture = read_picture(self.path)
        self.cut(picture.pixels)  # refuses a box that reaches beyond it
        return crop_picture(picture if self.box is None else picture.cut(*self.box), self.crop)

    def load_reference(self, scale: int) -> Tensor:
        """Read the clean image that belongs to a degraded one.

        Args:
            scale: How many times it is as large as the degraded one.

        Returns:
            (1, C, H, W) in [0, 1], cropped like the degraded one.

        Raises:
            FileNotFoundError: There is no such file.
            ImageFileError: It cannot be read.
            SettingsError: There is none, or the box reaches beyond it.
        """
        if self.reference is None:
            raise SettingsError(f"{self.name} has no clean image.")
        return self.cut(_load(self.reference), scale)


def _load(path: str) -> Tensor:
    return _sample(path.removeprefix(SKIMAGE)) if path.startswith(SKIMAGE) else load_image(path)


def expand(entries: Iterable[ImageEntry], folder: Path, crop: int | None) -> list[Source]:
    """The images that entries of a study file stand for.

    Args:
        entries: Files, folders, globs or ``skimage:NAME``.
        folder: Folder that relative paths start at.
        crop: Side of the centre crop where an entry has none; None for no crop.

    Returns:
        Sources with distinct names, in the order of the entries; those of a folder or glob are sorted.

    Raises:
        FileNotFoundError: There is no such file.
        SettingsError: An entry stands for no image, one name is asked for several, or two images have one name.
    """
    sources = []
    for index, entry in enumerate(entries):
        where = place("images", index, entry.path)
        paths = _paths(entry.path, folder, where)
        for what, given in {"name": entry.name, "reference": entry.reference}.items():
            if given is not None and len(paths) > 1:
                raise SettingsError(f"{where}: a {what} is for one image, and this stands for {len(paths)}.")
        reference = None if entry.reference is None else _paths(entry.reference, folder, where)[0]
        box = entry.crop if isinstance(entry.crop, list) else None
        side = entry.crop if isinstance(entry.crop, int) else crop
        for path in paths:
            name = entry.name or (path.removeprefix(SKIMAGE) if path.startswith(SKIMAGE) else as_label(Path(path).stem))
            corners = None if box is None else (box[0], box[1], box[2], box[3])
            sources.append(Source(name, path, corners, side, reference))
    return _with_distinct_names(sources)


def as_label(name: str) -> str:
    """The name of a file as a label of results: characters that no label may have are written as "%0A"."""
    return re.sub(f"[{UNFIT}]", lambda found: f"%{ord(found[0]):02X}", name)


def absolute_path(text: str) -> str:
    """A file, folder or glob as an absolute path; ``skimage:NAME`` as it is."""
    return text if text.startswith(SKIMAGE) else str(Path(text).absolute())


def _paths(text: str, folder: Path, where: str) -> list[str]:
    if text.startswith(SKIMAGE):
        import skimage.data

        name, known = text.removeprefix(SKIMAGE), sorted(set(skimage.data.__all__) - _NO_IMAGES)
        if name not in known:
            raise SettingsError(f"{where}: scikit-image has no image '{name}': {nearest(name, known)}.")
        return [text]
    path = folder / text
    if not text:
        raise SettingsError(f"{where}: the path is empty; a file, a folder or a glob was expected.")
    if path.is_dir():
        paths = [inside for inside in path.iterdir() if inside.is_file() and inside.suffix.lower() in _suffixes()]
        paths = [inside for inside in paths if not inside.name.startswith(".")]
    elif any(character in text for character in "*?[") and not path.exists():
        # The folder's own name is not a pattern, even with such characters in it.
        start, pattern = (Path(path.anchor), str(path.relative_to(path.anchor))) if Path(text).is_absolute() else (folder, text)
        paths = [inside for inside in start.glob(pattern) if inside.is_file()]
    else:
        if not path.exists():
            raise FileNotFoundError(f"{where}: there is no file {path}.")
        paths = [path]
    if not paths:
        raise SettingsError(f"{where}: there are no images in {path}.")
    return [str(inside.absolute()) for inside in sorted(paths)]


def _suffixes() -> set[str]:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return {*readable, ".npy"} - {".pdf", ".eps", ".ps"}


def _with_distinct_names(sources: list[Source]) -> list[Source]:
    """Lengthen the names of images that are called the same: by their folder's name, in one folder by their suffix."""
    named = sources
    for longer in (_with_folder, _with_suffix, _with_suffix):  # "a.jpg.png" may be there as well
        groups: dict[str, list[Source]] = defaultdict(list)
        for source in named:
            groups[source.name].append(source)
        named = [longer(source, groups[source.name]) for source in named]
    for name, count in Counter(source.name for source in named).items():
        if count > 1:
            raise SettingsError(f"{count} images are called '{name}': give them names, as in {{path = ..., name = ...}}.")
    return named


def _with_folder(source: Source, namesakes: list[Source]) -> Source:
    folders = {Path(one.path).parent for one in namesakes}
    return source if len(folders) == 1 else replace(source, name=f"{as_label(Path(source.path).parent.name)}-{source.name}")


def _with_suffix(source: Source, namesakes: list[Source]) -> Source:
    path = Path(source.path)
    given = as_label(path.stem) not in source.name  # by the user, who would look for it
    return source if given or len(namesakes) == 1 else replace(source, name=f"{source.name}{path.suffix}")


def _sample(name: str) -> Tensor:
    import skimage.data

    try:
        array = getattr(skimage.data, name)()
    except (OSError, ImportError) as error:  # most come with the package; others are downloaded
        raise ImageFileError(
            f"scikit-image's '{name}' is not in its package and cannot be downloaded ({shorten_error(error)})."
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or not (array.ndim == 2 or array.shape[2:] in ((3,), (4,))):
        raise ImageFileError(f"scikit-image's '{name}' is not a photograph of 8 bits a channel.")
    planes = array[..., None] if array.ndim == 2 else array[..., :3]
    return torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)[None].float() / 255
