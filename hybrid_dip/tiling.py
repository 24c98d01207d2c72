"""Images too large for one fit: overlapping tiles, each fitted by itself, blended into one image.

A tile is a task of its own: the part of y that shows it, the same A, the same noise. Where A looks beyond the tile's border (a
blur, a low-pass filter), the entries of y that depend on what is outside count as not measured; another tile has measured them.
All tiles have one size, so that one recipe serves for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from hybrid_dip import devices
from hybrid_dip.contracts import SMALLEST_SIDE, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.estimate import memory_of_a_step
from hybrid_dip.operators import Blur, Downsample, Identity, Mosaic
from hybrid_dip.recipe import Recipe
from hybrid_dip.restore import Result, RunHooks
from hybrid_dip.selection import OTHER_STEPS, steps_of

OVERLAP = 64
"""Pixels that neighbouring tiles share at least; a quarter of the tile where that is less, more where A looks further."""


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
            images: (1, C, h, w), one a box.

        Returns:
            (1, C, height, width), on the CPU.
        """
        total = torch.zeros(1, images[0].shape[1], self.height, self.width)
        weights = torch.zeros(1, 1, self.height, self.width)
        for image, box in zip(images, self.boxes, strict=True):
            rows = self._ramp(box.height, box.top > 0, box.top + box.height < self.height)
            columns = self._ramp(box.width, box.left > 0, box.left + box.width < self.width)
            weight = rows[:, None] * columns
            box.of(total).add_(image.cpu() * weight)
            box.of(weights).add_(weight)
        return total / weights

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
        side: Of a tile in pixels; smaller where the image is, and a few pixels larger where A works in blocks of them.

    Returns:
        The tiles.

    Raises:
        SettingsError: An operator that is not known to act on tiles, or a side too small to overlap.
    """
    multiple, margin = multiple_of(task), _reach(task) * scale_of(task)
    shared = max(min(OVERLAP, side // 4), 2 * margin + 2 * multiple if margin else 0)
    least = max(2 * SMALLEST_SIDE, 2 * shared)
    if side < least:
        raise SettingsError(f"A tile of this task has at least {least} pixels a side, got {side}.")
    height, width = task.shape[-2:]
    (tall, rows), (wide, columns) = (_along(extent, side, shared, multiple) for extent in (height, width))
    return Tiles(height, width, tuple(Box(top, left, tall, wide) for top in rows for left in columns), shared, margin)


def _along(extent: int, side: int, shared: int, multiple: int) -> tuple[int, list[int]]:
    """The tiles' length along an axis, and where they begin."""
    # The last one ends where the image does, and has to be allowed to begin there.
    length = side + max(0, extent - side) % multiple
    if extent <= length:
        return extent, [0]
    # Each but the last may begin up to multiple - 1 pixels before its even place.
    count = -(-(extent - shared) // (length - shared - multiple + 1))
    return length, [round((extent - length) * i / max(1, count - 1)) // multiple * multiple for i in range(count)]


def scale_of(task: Task) -> int:
    """How many pixels of the image to restore are one of y.

    Args:
        task: To be tiled.

    Returns:
        The factor of super-resolution, else 1.

    Raises:
        SettingsError: A forward operator that is not known to act on tiles.
    """
    if isinstance(task.forward, Downsample):
        return task.forward.factor
    if isinstance(task.forward, Identity | Blur | Mosaic):
        return 1
    raise SettingsError(
        f"An image is restored in tiles where A is local: masks, blurs, downsampling, mosaics; not for "
        f"{type(task.forward).__name__} of the task '{task.name}'. Take a part of the image with --crop."
    )


def multiple_of(task: Task) -> int:
    """Tiles of a task begin at multiples of so many pixels: whole pixels of y, whole patterns of colour filters.

    Args:
        task: To be tiled.

    Returns:
        The number.

    Raises:
        SettingsError: A forward operator that is not known to act on tiles.
    """
    return 2 if isinstance(task.forward, Mosaic) else scale_of(task)


def _reach(task: Task) -> int:
    """How many entries of y from a border depend on what is beyond it."""
    if isinstance(task.forward, Downsample):
        return -(-len(task.forward.taps) // (2 * task.forward.factor)) + 1
    return max(task.forward.psf.shape) // 2 if isinstance(task.forward, Blur) else 0


SIDES = (2048, 1536, 1024, 768, 512, 384, 256)
"""That are tried where an image does not fit into memory."""
SPARE = 0.8
"""Share of the free memory that a tile may take."""


def chosen(
    asked: str, task: Task, recipe_of: Callable[[Task], Recipe], device: torch.device, free: int | None = None
) -> Tiles | None:
    """The tiles that somebody asked for.

    Args:
        asked: "off", a side in pixels, or "auto": tiles only where a step on the whole image would not fit into the free
            memory, not even with activations that are computed again; and then the largest that do as they are.
        task: To be restored.
        recipe_of: Task -> what is fitted.
        device: Where.
        free: Bytes that a fit may take, by default what is free there.

    Returns:
        The tiles, or None for the whole image at once.

    Raises:
        SettingsError: Neither of the three, or a task that cannot be tiled.
    """
    if asked == "off":
        return None
    if asked != "auto":
        if not asked.isdecimal():
            raise SettingsError(f"--tile is auto, off or a side in pixels, got '{asked}'.")
        found = tiles_of(task, int(asked))
        return found if len(found.boxes) > 1 else None
    free = devices.free_memory(device) if free is None else free
    if memory_of_a_step(task, recipe_of(task), recomputed=True) <= free:
        return None
    for side in SIDES:
        if side >= max(task.shape[-2:]):
            continue
        try:
            tiles = tiles_of(task, side)
        except SettingsError:  # that it does not fit is what has to be said
            return None
        tile = part(task, tiles.boxes[0])
        if memory_of_a_step(tile, recipe_of(tile)) <= SPARE * free:
            return tiles
    return None


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
    scale, multiple = scale_of(task), multiple_of(task)
    if box.top % multiple or box.left % multiple:
        raise SettingsError(f"A tile of this task has to begin at a multiple of {multiple} pixels, got {box}.")
    y = box.of(task.observation, scale)
    weight = None if task.weight is None else box.of(task.weight.expand_as(task.observation), scale)
    reach = _reach(task)
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


def restore_tiled(
    task: Task,
    tiles: Tiles,
    restored: Callable[[Task, Callable[[int], RunHooks]], Result],
    hooks: Callable[[int, int], RunHooks] = lambda number, seed: RunHooks(),
) -> Result:
    """Restore an image tile by tile.

    Args:
        task: Of the whole image.
        tiles: From :func:`tiles_of`.
        restored: (task of a tile, hooks) -> its result, for instance by :func:`hybrid_dip.restore.restore`.
        hooks: Number of the tile, seed -> what surrounds that fit.

    Returns:
        The result; its fits, one a seed, have the images of all tiles and all else from the first one. Where it was asked to
        end, that of the tile it was at.

    Raises:
        SettingsError: A task that cannot be tiled.
    """
    found: list[Result] = []
    for number, box in enumerate(tiles.boxes):
        found.append(restored(part(task, box), partial(hooks, number)))
        if found[-1].fits[-1].reason == "interrupted":
            return found[-1]
    fits = tuple(
        replace(
            fit,
            image=tiles.blend([one.fits[k].image for one in found]),
            last=tiles.blend([one.fits[k].last for one in found]),
            notes=tuple(note for one in found for note in one.fits[k].notes),
            extras={**fit.extras, OTHER_STEPS: sum(steps_of(one.fits[k]) for one in found) - fit.steps},
            seconds=sum(one.fits[k].seconds for one in found),
        )
        for k, fit in enumerate(found[0].fits)
    )
    here = task.to("cpu")
    raw = tiles.blend([one.raw for one in found])
    deviations = [one.deviation for one in found if one.deviation is not None]
    return replace(
        found[0],
        image=here.finish(raw),
        raw=raw,
        last=here.finish(tiles.blend([one.last for one in found])),
        deviation=tiles.blend(deviations) if deviations else None,
        fits=fits,
        seconds=sum(one.seconds for one in found),
    )
