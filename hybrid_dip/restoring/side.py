"""How large the tiles of an image may be, so that a step fits into memory."""

from collections.abc import Sequence

import torch

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.problem.tiles import can_be_tiled, of_one_fit
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import recipe_and_tiles

SIDES = (2048, 1536, 1024, 768, 512, 384, 256)
"""Sides of tiles that are tried where an image does not fit into memory."""
SPARE = 0.8
"""Share of the free memory that a tile may take."""


def parse_side(text: str) -> int:
    """Read the side of the tiles.

    Args:
        text: "off", or a side in pixels.

    Returns:
        The side in pixels; 0 for the whole image at once.

    Raises:
        SettingsError: The text is something else.
    """
    if text != "off" and (not text.isdecimal() or int(text) == 0):
        raise SettingsError(f"--tile is auto, off or a side in pixels, got '{text}'.")
    return 0 if text == "off" else int(text)


def side_of_tiles(
    asked: str,
    task: Task,
    preset: str | Preset | Recipe,
    device: torch.device,
    terms: Sequence[Term] = (),
    free: int | None = None,
) -> int | None:
    """Choose the side of the tiles.

    "auto" is the recipe's own side. Where a step would not fit into the free memory, even with activations that are computed
    again, it is the largest side with which a step fits with activations that are kept.

    Args:
        asked: "auto", "off" or a side in pixels.
        task: The task of the whole image.
        preset: What is fitted.
        device: Where it is fitted.
        terms: Regularisers.
        free: Bytes that a fit may take. The default is what is free on the device.

    Returns:
        The side in pixels, 0 for the whole image at once, or None for the recipe's own.

    Raises:
        SettingsError: ``asked`` is something else.
    """
    if asked != "auto":
        return parse_side(asked)
    free = devices.free_memory(device) if free is None else free

    def needed(side: int | None, *, recomputed: bool = False) -> int:
        recipe, tiles = recipe_and_tiles(task, preset, side, terms)
        return memory_of_a_step(of_one_fit(task, tiles), recipe, recomputed=recomputed)

    if needed(None, recomputed=True) <= free or not can_be_tiled(task):
        return None
    for side in SIDES:
        if side >= max(task.shape[-2:]):
            continue
        try:
            if needed(side) <= SPARE * free:
                return side
        except SettingsError:  # no tiles are possible; the check of the memory will say that the image does not fit
            return None
    return None
