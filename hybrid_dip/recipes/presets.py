"""Named recipes: which network, latent and hyper-parameters a task is fitted with.

A preset is a function Task -> :class:`~hybrid_dip.recipes.recipe.Recipe`. ``original`` is the table of the original
implementation; ``quick`` is a lean network for laptops; ``fast`` comes near the original's best quality in a tenth of its time.
"""

from hybrid_dip.recipes.fast import EVEN, EVEN_WIDE, fast
from hybrid_dip.recipes.original import (
    FEWEST_SCATTERED,
    INVERTING,
    NOISE,
    NORMAL,
    STANDARD,
    original,
    original_hole,
    original_hole_resnet,
    original_hole_unet,
    original_region,
)
from hybrid_dip.recipes.quick import LEAN, quick

__all__ = [
    "EVEN",
    "EVEN_WIDE",
    "FEWEST_SCATTERED",
    "INVERTING",
    "LEAN",
    "NOISE",
    "NORMAL",
    "STANDARD",
    "fast",
    "original",
    "original_hole",
    "original_hole_resnet",
    "original_hole_unet",
    "original_region",
    "quick",
]
