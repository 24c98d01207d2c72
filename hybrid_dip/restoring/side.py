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
"""Of tiles that are tried where an image does not fit into memory."""
SPARE = 0.8
"""Share of the free memory that a tile may take."""


def parse_side(text: str) -> int:
    """A side of tiles as a number.

    Args:
        text: "off", or a side in pixels.

    Returns:
        Pixels, 0 for the whole image at once.

    Raises:
        SettingsError: Neither of the two.
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
    """The side of the tiles that somebody asked for.

    Args:
        asked: "off", a side in pixels, or "auto": the recipe's own; where a step would not fit into the free memory, not even
            with activations that are computed again, the largest that does as they are.
        task: To be restored.
        preset: What is fitted.
        device: Where.
        terms: Regularisers.
        free: Bytes that a fit may take, by default what is free there.

    Returns:
        The side, 0 for the whole image at once, or None for the recipe's own.

    Raises:
        SettingsError: Neither of the three.
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
        except SettingsError:  # that it does not fit is what has to be said
            return None
    return None
