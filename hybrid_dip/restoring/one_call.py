"""One line for one image: the image goes in and comes out as what it was, in scikit-image's manner.

Each makes a task (:mod:`hybrid_dip.problem.tasks`), restores it, and returns the image alone.
:func:`hybrid_dip.restoring.restore.restore` returns the fits as well.
"""

from typing import Any

import numpy.typing as npt
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.images.kinds import AnyImage, as_given
from hybrid_dip.problem import tasks
from hybrid_dip.problem.masks import known_pixels
from hybrid_dip.problem.resampling import Kernel
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.restoring.restore import restore


def denoise(
    image: AnyImage,
    sigma: float | None = None,
    *,
    preset: str | Preset | Recipe = "fast",
    regularisers: Any = (),
    **options: Any,
) -> Any:
    """Remove noise.

    Args:
        image: A tensor (1, C, H, W), an array (H, W) or (H, W, C), a PIL image or a path.
        sigma: Standard deviation of the noise in units of [0, 1], whatever the image is; None estimates it.
        preset: As in :func:`hybrid_dip.restoring.restore.restore`.
        regularisers: As there.
        **options: Others of its options: seed, steps, device, ...

    Returns:
        The image, as what it was given; a PIL image for a path.

    Raises:
        HybridDIPError: As there.
    """
    return _restored(image, tasks.denoise(image, sigma=sigma), preset, regularisers, options)


def inpaint(
    image: AnyImage, mask: AnyImage, *, preset: str | Preset | Recipe = "fast", regularisers: Any = (), **options: Any
) -> Any:
    """Fill in what a mask marks.

    Args:
        image: As in :func:`denoise`.
        mask: Of any of these kinds: 1, True or white is a known pixel, 0, False or black one to fill in. (scikit-image's masks
            are the other way round: give ``~mask``.)
        preset: As in :func:`denoise`.
        regularisers: As there.
        **options: As there.

    Returns:
        The image, as what it was given, opaque where it was filled in.

    Raises:
        HybridDIPError: As there.
    """
    return _restored(image, tasks.inpaint(image, mask), preset, regularisers, options)


def super_resolve(
    image: AnyImage,
    factor: int = 4,
    *,
    kernel: Kernel = "lanczos2",
    preset: str | Preset | Recipe = "fast",
    regularisers: Any = (),
    **options: Any,
) -> Any:
    """Enlarge an image.

    Args:
        image: As in :func:`denoise`.
        factor: How many times larger, a whole number of at least 2.
        kernel: The filter that made it small.
        preset: As in :func:`denoise`.
        regularisers: As there.
        **options: As there.

    Returns:
        The image, as what it was given.

    Raises:
        HybridDIPError: As there.
    """
    return _restored(image, tasks.super_resolve(image, factor=factor, kernel=kernel), preset, regularisers, options)


def deblur(
    image: AnyImage,
    psf: Tensor | npt.NDArray[Any],
    *,
    preset: str | Preset | Recipe = "fast",
    regularisers: Any = (),
    **options: Any,
) -> Any:
    """Remove a known blur.

    Args:
        image: As in :func:`denoise`.
        psf: Point spread function (h, w), at least 0; it is divided by its sum.
        preset: As in :func:`denoise`.
        regularisers: As there.
        **options: As there.

    Returns:
        The image, as what it was given.

    Raises:
        HybridDIPError: As there.
    """
    return _restored(image, tasks.deblur(image, psf), preset, regularisers, options)


def _restored(image: AnyImage, task: Task, preset: str | Preset | Recipe, regularisers: Any, options: dict[str, Any]) -> Any:
    result = restore(task, preset=preset, regularisers=regularisers, **options)
    known = known_pixels(task)
    return as_given(result.image, image, None if known is None else 1 - known)
