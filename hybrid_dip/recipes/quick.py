"""The preset ``quick``: the original's settings with a lean network and fewer steps."""

from dataclasses import replace
from functools import partial

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.recipes.original import original
from hybrid_dip.recipes.recipe import Recipe

LEAN = partial(
    networks.skip,
    down=(16, 32, 64, 128, 128),
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""Narrow where maps are large: a step takes about a fifth of the standard network's time (experiments/001_original_dip)."""

_STEPS = {"denoise": 1800, "jpeg": 1800, "inpaint": 2000, "missing-pixels": 2500, "flash": 600}


def quick(task: Task) -> Recipe:
    """A lean network (16, 32, 64, 128, 128) for laptops, with fewer steps; otherwise the original's settings.

    Args:
        task: Any task.

    Returns:
        The recipe.
    """
    recipe = original(task)
    if task.name == "jpeg":
        network = recipe.network  # already lean
    elif task.name == "flash":
        network = partial(LEAN, upsample=("nearest", "nearest", "bilinear", "bilinear", "bilinear"))
    else:
        network = LEAN
    steps = min(recipe.steps, _STEPS.get(task.name, 1800))
    lr = 0.01 if task.name in ("missing-pixels", "flash") else recipe.lr
    if task.name == "missing-pixels":  # at its rate of learning the fit to y may well fall for a moment
        recipe = replace(recipe, fallback=None, log_every=None)
    return replace(recipe, network=network, steps=steps, lr=lr, spare_draws=None, note="")
