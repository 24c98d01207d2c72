"""An image and a preset -> the recipe that is fitted, and the tiles where it is not the whole image at once."""

from collections.abc import Sequence
from dataclasses import replace

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.tiles import Tiles, least_known, of_one_fit, own_tiles, tiles_of
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Term


def resolve(preset: str | Preset | Recipe, task: Task) -> Recipe:
    """A recipe from a preset's SPEC, a preset, or itself.

    Args:
        preset: Any of the three; a SPEC is a name of the catalogue or ``file.py:name``, with options.
        task: To choose the recipe for.

    Returns:
        The recipe.

    Raises:
        SettingsError: An unknown name or option, or a preset for other tasks.
    """
    if isinstance(preset, Recipe):
        return preset
    chosen: Preset = spec.build(preset, "presets", catalogue()) if isinstance(preset, str) else preset
    return chosen(task)


def recipe_and_tiles(
    task: Task, preset: str | Preset | Recipe, tile: int | None = None, terms: Sequence[Term] = ()
) -> tuple[Recipe, Tiles | None]:
    """What is fitted to an image: the recipe, and the tiles where it is not the whole image at once.

    Args:
        task: To be restored.
        preset: As for :func:`resolve`; of an image in tiles the recipe is that for a tile.
        tile: Side of the tiles in pixels at most, instead of the recipe's; 0: the whole image at once.
        terms: Regularisers; some hold an image as large as the whole, which takes no tiles.

    Returns:
        Both; the recipe's ``tile`` is the side that is taken, or None.

    Raises:
        SettingsError: As :func:`resolve`; or tiles were asked for that cannot be.
    """
    recipe = resolve(preset, task)
    whole = [term.name for term in [*terms, *recipe.terms] if term.of_whole_image]
    if tile is None:
        tiles = own_tiles(task, recipe.tile) if recipe.tile and not whole else None
    elif tile == 0:
        tiles = None
    elif whole:
        raise SettingsError(f"'{whole[0]}' holds an image as large as the whole, which is not cut into tiles; leave tiles out.")
    else:
        found = tiles_of(task, tile)
        tiles = found if len(found.boxes) > 1 else None
        if not least_known(task, found):
            raise SettingsError(f"In a tile of {tile} pixels nothing was measured; give larger ones, or leave tiles out.")
    if tiles is None:
        return replace(recipe, tile=None), None
    side = recipe.tile if tile is None else tile
    return replace(resolve(preset, of_one_fit(task, tiles)), tile=side), tiles


def tiles_for(task: Task, recipe: Recipe) -> Tiles | None:
    """The tiles in which an image is fitted.

    Args:
        task: To be restored.
        recipe: From :func:`hybrid_dip.restoring.plan.recipe_and_tiles`; its ``tile`` says so.

    Returns:
        The tiles, or None where the whole image is fitted at once.
    """
    return tiles_of(task, recipe.tile) if recipe.tile else None
