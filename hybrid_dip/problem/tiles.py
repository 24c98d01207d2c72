"""Images too large for one fit: overlapping tiles, each fitted alone, blended into one image.

An image may be too large for the memory, or for the recipe: a narrow network and a number of steps that suit 256x256 pixels are
too little for a photograph of 1024x1024, but enough for each of its parts.

A tile has its own task: the part of y that shows it, the same A, the same noise. Where A looks beyond the border of the tile (a
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
"""Neighbouring tiles share at least this many pixels; a quarter of the tile where that is less, more where A looks further."""
ROUND = 32
"""Sides are multiples of it where they can be: a network of five scales halves them five times."""
EVEN = 0.5
"""A recipe's own tiles are taken only if each has at least this part of the image's share of known entries."""


@dataclass(frozen=True)
class Box:
    """Place of a tile in the image to restore, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor, scale: int = 1) -> Tensor:
        """The tile's part of an image.

        Args:
            x: (1, C, H, W), or ``scale`` times smaller.
            scale: How many pixels of the image to restore are one pixel of x.

        Returns:
            (1, C, height / scale, width / scale); a view.
        """
        top, left, height, width = (extent // scale for extent in (self.top, self.left, self.height, self.width))
        return x[..., top : top + height, left : left + width]


@dataclass(frozen=True)
class Tiles:
    """Places of the tiles of a task.

    Attributes:
        height: Height of the image to restore.
        width: Width of the image to restore.
        boxes: The tiles, all of one size, row after row.
        shared: Neighbours share at least this many pixels, and are blended over them.
        margin: Pixels at a border between tiles that y shows only in part; they count for almost nothing in the blend.
    """

    height: int
    width: int
    boxes: tuple[Box, ...]
    shared: int
    margin: int

    def blend(self, images: Sequence[Tensor]) -> Tensor:
        """Put tiles together: where they overlap, a mean whose weights rise linearly from each tile's border.

        Args:
            images: (1, C, h, w) for each box, or for the first ones.

        Returns:
            (1, C, height, width), on the CPU; 0 where no tile lies.
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
        """1 inside, falling to almost 0 at a border with another tile."""
        place = torch.arange(length) + 1.0 - self.margin
        far = torch.full((length,), float(length))
        nearest = torch.minimum(place if before else far, place.flip(0) if after else far)
        reach = max(1, self.shared - 2 * self.margin)
        return nearest.clamp(1e-3, reach) / reach


def tiles_of(task: Task, side: int) -> Tiles:
    """Tiles of one size that cover an image, as evenly as they can.

    Args:
        task: The task to restore.
        side: Side of a tile in pixels, at most; a few pixels more where A works in blocks.

    Returns:
        The tiles, no larger than needed with this many of them.

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
    """Length of the tiles along an axis, and where they begin."""
    # The last tile ends where the image does, and must still begin at a multiple.
    longest = side + max(0, extent - side) % multiple
    if extent <= longest:
        return extent, [0]
    # Each tile but the last may begin up to multiple - 1 pixels before its even place.
    between = shared + multiple - 1
    count = -(-(extent - between) // (longest - between))
    even = -(-(extent + (count - 1) * between) // count)
    length = min(longest, -(-even // ROUND) * ROUND)
    length += (extent - length) % multiple
    return length, [round((extent - length) * i / max(1, count - 1)) // multiple * multiple for i in range(count)]


def least_side(task: Task) -> int:
    """Side of the smallest tile that a task can be cut into.

    Args:
        task: The task to restore.

    Returns:
        The side in pixels.

    Raises:
        SettingsError: An operator that is not known to act on tiles.
    """
    return max(2 * SMALLEST_SIDE, 2 * _seen_in_part(_locality(task)))


def can_be_tiled(task: Task) -> bool:
    """Whether A is known to act on tiles: it says how local it is, and y covers the image in whole strides.

    Args:
        task: The task to restore.

    Returns:
        True if so.
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
        task: The task of the whole image.
        box: The place of the tile.

    Returns:
        A task with that part of y, of the weights and of the guide.

    Raises:
        SettingsError: An operator that is not known to act on tiles, or a box that does not begin where one may.
    """
    locality = _locality(task)
    if box.top % locality.multiple or box.left % locality.multiple:
        raise SettingsError(f"A tile of this task has to begin at a multiple of {locality.multiple} pixels, got {box}.")
    y = box.of(task.observation, locality.stride)
    weight, precision = (
        None if one is None else box.of(one.expand_as(task.observation), locality.stride)
        for one in (task.weight, task.precision)
    )
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
        precision=None if precision is None else precision.contiguous(),
        latent=None if task.latent is None else box.of(task.latent).contiguous(),
    )


def own_tiles(task: Task, side: int) -> Tiles | None:
    """Tiles that a recipe takes unasked, because it is made for smaller images.

    Args:
        task: The task to restore.
        side: Side of the largest image that the recipe is made for.

    Returns:
        The tiles, or None where the whole image is fitted at once: it is no larger; A is not known to act on tiles, or looks
        too far for this side; or one tile would have much less measured than another.
    """
    if max(task.shape[-2:]) <= side or not can_be_tiled(task) or side < least_side(task):
        return None
    tiles = tiles_of(task, side)
    return tiles if len(tiles.boxes) > 1 and least_known(task, tiles) >= EVEN else None


def of_one_fit(task: Task, tiles: Tiles | None) -> Task:
    """The part of an image that one fit sees.

    Args:
        task: The task of the whole image.
        tiles: The tiles in which it is fitted, or None.

    Returns:
        The task of the first tile, which has the size of all, or the task itself.
    """
    return task if tiles is None else part(task, tiles.boxes[0])


def least_known(task: Task, tiles: Tiles) -> float:
    """How much is known in the worst of the tiles.

    Args:
        task: The task to restore.
        tiles: Its tiles.

    Returns:
        The share of entries that were measured in that tile, over the same share of the image; 0 where a tile has none.
    """
    if task.weight is None:
        return 1.0
    scale = _locality(task).stride
    known = (task.weight.expand_as(task.observation) > 0).float()
    return float(min(box.of(known, scale).mean() for box in tiles.boxes)) / max(1e-12, float(known.mean()))
