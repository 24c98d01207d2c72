"""What is fitted to an image: the recipe, and the tiles where the image is not fitted as a whole."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error, describe_given
from hybrid_dip.problem.tiles import Tiles, least_known, of_one_fit, own_tiles, tiles_of
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Term


def resolve(preset: str | Preset | Recipe, task: Task) -> Recipe:
    """Make the recipe for a task.

    Args:
        preset: A preset, its SPEC (a name of the catalogue or ``file.py:name``, with options), or a recipe.
        task: The task that the recipe is chosen for.

    Returns:
        The recipe; one that was given is returned as it is.

    Raises:
        SettingsError: A name or an option is not known, or the preset is for other tasks.
    """
    if isinstance(preset, Recipe):
        return preset
    chosen: Preset = spec.build(preset, "presets", catalogue()) if isinstance(preset, str) else preset
    try:
        made = None if isinstance(chosen, nn.Module | type) or not callable(chosen) else chosen(task)
    except HybridDIPError:
        raise
    except Exception as error:  # it may be the user's
        raise SettingsError(f"The preset '{getattr(chosen, '__name__', preset)}' failed: {describe_error(error)}.") from error
    if not isinstance(made, Recipe):
        got = describe_given(chosen) if made is None else f"{describe_given(chosen)} that returns {describe_given(made)}"
        raise SettingsError(
            f"A preset is a name such as 'fast', an hd.Recipe, or a function of a task that returns one, got {got}; a network "
            "of your own goes into hd.Recipe, or into hd.fit."
        )
    return made


def recipe_and_tiles(
    task: Task, preset: str | Preset | Recipe, tile: int | None = None, terms: Sequence[Term] = ()
) -> tuple[Recipe, Tiles | None]:
    """Make what is fitted to an image.

    Args:
        task: The task of the whole image.
        preset: A preset, its SPEC or a recipe, as for :func:`resolve`.
        tile: Largest side of a tile in pixels; 0 for the whole image at once. The default is the recipe's.
        terms: Regularisers. One that holds an image as large as the whole allows no tiles.

    Returns:
        The recipe, and the tiles or None. Of an image in tiles the recipe is that for a tile. Its ``tile`` is the side that is
        taken, or None.

    Raises:
        SettingsError: As :func:`resolve`; or the task cannot be cut into the tiles that were asked for.
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
        cut = tiles_of(task, tile)
        tiles = cut if len(cut.boxes) > 1 else None
        if not least_known(task, cut):
            raise SettingsError(f"In a tile of {tile} pixels nothing was measured; give larger ones, or leave tiles out.")
    if tiles is None:
        return replace(recipe, tile=None), None
    side = recipe.tile if tile is None else tile
    return replace(resolve(preset, of_one_fit(task, tiles)), tile=side), tiles


def tiles_for(task: Task, recipe: Recipe) -> Tiles | None:
    """The tiles in which an image is fitted.

    Args:
        task: The task of the whole image.
        recipe: A recipe of :func:`recipe_and_tiles`; its ``tile`` says how large the tiles are.

    Returns:
        The tiles, or None where the whole image is fitted at once.
    """
    return tiles_of(task, recipe.tile) if recipe.tile else None
