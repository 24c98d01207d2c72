"""Images too large for one fit: overlapping tiles, each fitted by itself, blended into one image.

Too large for the memory, or for the recipe: a narrow network and a number of steps that suit 256x256 pixels are too little for
a photograph of 1024x1024, but not for each of its parts.

A tile is a task of its own: the part of y that shows it, the same A, the same noise. Where A looks beyond the tile's border (a
blur, a low-pass filter), the entries of y that depend on what is outside count as not measured; another tile has measured them.
All tiles have one size, so that one recipe serves for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hybrid_dip.contracts import SMALLEST_SIDE, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.operators import Locality, locality_of

OVERLAP = 64
"""Pixels that neighbouring tiles share at least; a quarter of the tile where that is less, more where A looks further."""
ROUND = 32
"""Sides are multiples of it where they can be: networks of five scales halve them so often."""
EVEN = 0.5
"""Share of what is known that a tile must have, over the image's, to be fitted without being asked for."""


@dataclass(frozen=True)
class Box:
    """Where a tile lies in the image to restore, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor, scale: int = 1) -> Tensor:
        """The tile's part of an image.

        Args:
            x: (1, C, H, W), or ``scale`` times smaller.
            scale: How many pixels of the image to restore are one of x.

        Returns:
            (1, C, height, width), divided by ``scale``; a view.
        """
        top, left, height, width = (extent // scale for extent in (self.top, self.left, self.height, self.width))
        return x[..., top : top + height, left : left + width]


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of a task lie.

    Attributes:
        height: Of the image to restore.
        width: Of it.
        boxes: Of one size, row after row.
        shared: Pixels that neighbours share at least, and over which they are blended.
        margin: Pixels at a border between tiles that A shows only in part; they count for almost nothing in the blend.
    """

    height: int
    width: int
    boxes: tuple[Box, ...]
    shared: int
    margin: int

    def blend(self, images: Sequence[Tensor]) -> Tensor:
        """Put tiles together: where they overlap, a mean whose weights rise linearly from each tile's border.

        Args:
            images: (1, C, h, w), one a box, or of the first ones.

        Returns:
            (1, C, height, width), on the CPU; 0 where no tile is.
        """
        total = torch.zeros(1, images[0].shape[1], self.height, self.width)
        weights = torch.zeros(1, 1, self.height, self.width)
        for image, box in zip(images, self.boxes[: len(images)], strict=True):
            rows = self._ramp(box.height, box.top > 0, box.top + box.height < self.height)
            columns = self._ramp(box.width, box.left > 0, box.left + box.width < self.width)
            weight = rows[:, None] * columns
            box.of(total).add_(image.cpu() * weight)
            box.of(weights).add_(weight)
        return total / weights.clamp(min=1e-12)

    def _ramp(self, length: int, before: bool, after: bool) -> Tensor:
        """1 inside, falling to almost 0 at the borders that another tile lies beyond."""
        place = torch.arange(length) + 1.0 - self.margin
        far = torch.full((length,), float(length))
        nearest = torch.minimum(place if before else far, place.flip(0) if after else far)
        reach = max(1, self.shared - 2 * self.margin)
        return nearest.clamp(1e-3, reach) / reach


def tiles_of(task: Task, side: int) -> Tiles:
    """Tiles of one size that cover an image, as evenly as they can.

    Args:
        task: To be restored.
        side: Of a tile in pixels, at most; a few pixels larger where A works in blocks of them.

    Returns:
        The tiles, no larger than as many of them need to be.

    Raises:
        SettingsError: An operator that is not known to act on tiles, or a side too small to overlap.
    """
    least = least_side(task)
    if side < least:
        raise SettingsError(f"A tile of this task has at least {least} pixels a side, got {side}.")
    locality = _locality(task)
    shared = max(min(OVERLAP, side // 4), _seen_in_part(locality))
    height, width = task.shape[-2:]
    (tall, rows), (wide, columns) = (_along(extent, side, shared, locality.multiple) for extent in (height, width))
    return Tiles(height, width, tuple(Box(top, left, tall, wide) for top in rows for left in columns), shared, locality.margin)


def _along(extent: int, side: int, shared: int, multiple: int) -> tuple[int, list[int]]:
    """The tiles' length along an axis, and where they begin."""
    # The last one ends where the image does, and has to be allowed to begin there.
    longest = side + max(0, extent - side) % multiple
    if extent <= longest:
        return extent, [0]
    # Each but the last may begin up to multiple - 1 pixels before its even place.
    between = shared + multiple - 1
    count = -(-(extent - between) // (longest - between))
    even = -(-(extent + (count - 1) * between) // count)
    length = min(longest, -(-even // ROUND) * ROUND)
    length += (extent - length) % multiple
    return length, [round((extent - length) * i / max(1, count - 1)) // multiple * multiple for i in range(count)]


def least_side(task: Task) -> int:
    """The smallest tile of a task.

    Args:
        task: To be restored.

    Returns:
        Pixels.

    Raises:
        SettingsError: An operator that is not known to act on tiles.
    """
    return max(2 * SMALLEST_SIDE, 2 * _seen_in_part(_locality(task)))


def can_be_tiled(task: Task) -> bool:
    """Whether A is known to act on tiles: it says how local it is, and y covers the image in whole strides.

    Args:
        task: To be restored.

    Returns:
        True where it is.
    """
    locality = locality_of(task.forward)
    return locality is not None and [locality.stride * n for n in task.observation.shape[-2:]] == list(task.shape[-2:])


def _locality(task: Task) -> Locality:
    locality = locality_of(task.forward)
    if locality is None or not can_be_tiled(task):
        raise SettingsError(
            "An image is restored in tiles where A is local: masks, blurs, downsampling, mosaics, operators that say so; "
            f"not for {type(task.forward).__name__} of the task '{task.name}'. Take a part of the image with --crop."
        )
    return locality


def _seen_in_part(locality: Locality) -> int:
    """Pixels that tiles must share so that each entry of y is measured in one of them."""
    return 2 * locality.margin + 2 * locality.multiple if locality.margin else 0


def part(task: Task, box: Box) -> Task:
    """The task of a tile.

    Args:
        task: Of the whole image.
        box: Of the tile.

    Returns:
        A task with the part of y, of the weights and of the guide.

    Raises:
        SettingsError: An operator that is not known to act on tiles, or a box that does not begin where one may.
    """
    locality = _locality(task)
    if box.top % locality.multiple or box.left % locality.multiple:
        raise SettingsError(f"A tile of this task has to begin at a multiple of {locality.multiple} pixels, got {box}.")
    y = box.of(task.observation, locality.stride)
    weight = None if task.weight is None else box.of(task.weight.expand_as(task.observation), locality.stride)
    reach = locality.margin // locality.stride
    if reach:
        known = torch.ones_like(y)
        height, width = task.shape[-2:]
        if box.top > 0:
            known[..., :reach, :] = 0
        if box.top + box.height < height:
            known[..., -reach:, :] = 0
        if box.left > 0:
            known[..., :reach] = 0
        if box.left + box.width < width:
            known[..., -reach:] = 0
        weight = known if weight is None else weight * known
    return replace(
        task,
        observation=y.contiguous(),
        shape=(1, task.shape[1], box.height, box.width),
        weight=None if weight is None else weight.contiguous(),
        latent=None if task.latent is None else box.of(task.latent).contiguous(),
    )


def own_tiles(task: Task, side: int) -> Tiles | None:
    """Tiles that nobody asked for, because a recipe is made for smaller images.

    Args:
        task: To be restored.
        side: Of the largest image that it is made for.

    Returns:
        The tiles, or None where the whole image is fitted at once: it is no larger, A is not known to act on tiles or looks as
        far as they reach, or what was measured is spread unevenly, so that a tile would have much less to go by than another.
    """
    if max(task.shape[-2:]) <= side or not can_be_tiled(task) or side < least_side(task):
        return None
    found = tiles_of(task, side)
    return found if len(found.boxes) > 1 and least_known(task, found) >= EVEN else None


def of_one_fit(task: Task, tiles: Tiles | None) -> Task:
    """What one fit sees of an image.

    Args:
        task: Of the whole image.
        tiles: In which it is fitted, or None.

    Returns:
        The task of the first tile, whose size all have, or of the whole.
    """
    return task if tiles is None else part(task, tiles.boxes[0])


def least_known(task: Task, tiles: Tiles) -> float:
    """How little is known in the worst of the tiles.

    Args:
        task: To be restored.
        tiles: Of it.

    Returns:
        The share of a tile's entries that were measured over that of the image; 0 where a tile has none.
    """
    if task.weight is None:
        return 1.0
    scale = _locality(task).stride
    known = (task.weight.expand_as(task.observation) > 0).float()
    return float(min(box.of(known, scale).mean() for box in tiles.boxes)) / max(1e-12, float(known.mean()))
