"""Named recipes: which network, latent and hyper-parameters a task is fitted with.

A preset is a function Task -> :class:`~hybrid_dip.recipes.recipe.Recipe`. ``original`` is the table of the original
implementation (Ulyanov, Vedaldi & Lempitsky, "Deep Image Prior", CVPR 2018 and IJCV 2020), task by task; ``quick`` is a lean
network for laptops; ``fast`` is made to come to the original's best quality in less than a tenth of the time of its recipe
(benchmarks/README.md).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.iterates import Growing
from hybrid_dip.fitting.optimizers import adam, muon
from hybrid_dip.networks import latents
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.recipes.recipe import ALL_STEPS, Preset, Recipe
from hybrid_dip.stopping import Discrepancy

STANDARD = partial(
    networks.skip,
    down=(128,) * 5,
    up=(128,) * 5,
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""The paper's standard network: 5 scales of 128 channels, 4 in each skip, 2.2 million parameters."""

LEAN = partial(
    networks.skip,
    down=(16, 32, 64, 128, 128),
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""Narrow where maps are large: about a fifth of the standard network's time a step (experiments/001_original_dip)."""

EVEN = partial(
    networks.skip,
    down=(32, 32, 32, 32, 28),
    up=(32, 28, 28, 28, 28),
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""The standard network at a quarter of its width. 28 channels from below and 4 of the skip make 32 at each convolution on the
way up: processors compute in blocks of 16 channels, of which 36 would fill three."""

EVEN_WIDE = partial(EVEN, down=(64, 64, 64, 64, 60), up=(64, 60, 60, 60, 60), skip=(16,) * 5)
"""The same at half the standard network's width, with four times the channels in each skip."""

INVERTING = partial(
    networks.skip,
    down=(16, 32, 64, 128, 128, 128),
    up=(16, 32, 64, 128, 128, 128),
    downsample="avg",
)
"""The original's six scales to look into networks with: features inverted, activations maximised."""

NOISE = partial(latents.uniform, channels=32)
"""Noise uniform on [0, 0.1] in 32 channels, the original's standard input."""
NORMAL = partial(latents.normal, channels=32)
"""Gaussian noise of deviation 0.1 in 32 channels."""
FEWEST_SCATTERED = 0.1
"""Below this share of known pixels ``missing-pixels`` takes the original's recipe for 98 % missing."""


def _denoise(task: Task) -> Recipe:
    note = "" if task.fidelity is gaussian else "The paper has no recipe for this noise; this is its recipe for Gaussian noise."
    strong = (task.noise_sigma or 0) > 37.5 / 255  # the original gives recipes for sigma 25 and 50
    jitter = 1 / 20 if strong else 1 / 30
    return Recipe(STANDARD, NOISE, steps=3000, jitter=jitter, average=0.99, fallback=5.0, note=note)


def _jpeg(task: Task) -> Recipe:
    network = partial(STANDARD, down=(8, 16, 32, 64, 128), up=(8, 16, 32, 64, 128), skip=(0, 0, 0, 4, 4))
    latent = partial(latents.uniform, channels=3)
    return Recipe(network, latent, steps=2400, jitter=1 / 30, average=0.99, fallback=5.0)


def _super_resolve(task: Task) -> Recipe:
    large = task.shape[-1] > 4 * task.observation.shape[-1]  # the original gives recipes for x4 and x8
    steps, jitter = (4000, 0.05) if large else (2000, 0.03)
    return Recipe(STANDARD, NOISE, steps=steps, jitter=jitter, latent_first=True)


def _inpaint_text(task: Task) -> Recipe:
    network = partial(STANDARD, skip=(128,) * 5, upsample="nearest")
    return Recipe(network, NOISE, steps=6001, jitter=0.03)


def _hardly_known(task: Task) -> bool:
    return float(task.measured) < FEWEST_SCATTERED * task.observation.numel()


def _missing_pixels(task: Task) -> Recipe:
    if _hardly_known(task):
        widths = (16, 32, 64, 128, 128)
        network = partial(STANDARD, down=widths, up=widths, skip=(0,) * 5, downsample="avg")
        return Recipe(network, NOISE, steps=1000)
    return Recipe(STANDARD, NOISE, steps=11000, lr=0.001, jitter=0.03)


def _flash(task: Task) -> Recipe:
    upsample = ("nearest", "nearest", "bilinear", "bilinear", "bilinear")
    return Recipe(partial(STANDARD, upsample=upsample), NOISE, steps=601, lr=0.1)


def _invert_features(task: Task) -> Recipe:
    kernels = (7, 7, 5, 5, 3, 3)
    network = partial(INVERTING, skip=(4,) * 6, kernel_down=kernels, kernel_up=kernels, upsample="nearest", padding="zero")
    return Recipe(network, NOISE, steps=3100, lr=0.001, latent_first=True)


def _maximise_activation(task: Task) -> Recipe:
    kernels = {"kernel_down": (5, 3, 5, 5, 3, 5), "kernel_up": (5, 3, 5, 3, 5, 3)}
    network = partial(INVERTING, skip=(0, 4, 4, 4, 4, 4), upsample="bilinear", padding="reflection", **kernels)
    lr = 0.01 if getattr(task.forward, "layer", None) is None else 0.001  # a class, or a channel of a hidden layer
    return Recipe(network, NOISE, steps=3100, lr=lr, jitter=0.03, latent_first=True)


def _without_paper(task: Task) -> Recipe:
    note = f"The paper has no recipe for '{task.name}'; this is its standard network with its super-resolution settings."
    return Recipe(STANDARD, NOISE, steps=2000, jitter=0.03, note=note)


_ORIGINAL: Mapping[str, Preset] = {
    "denoise": _denoise,
    "jpeg": _jpeg,
    "super-resolve": _super_resolve,
    "inpaint": _inpaint_text,
    "missing-pixels": _missing_pixels,
    "flash": _flash,
    "invert-features": _invert_features,
    "maximise-activation": _maximise_activation,
}


def original(task: Task) -> Recipe:
    """The original's settings for a task; for inpainting its recipe for text ("kate"), see the other presets for holes.

    Args:
        task: Any task; one that the paper does not have gets its standard network, and a note that says so.

    Returns:
        The recipe.
    """
    return _ORIGINAL.get(task.name, _without_paper)(task)


def _only_inpainting(task: Task, preset: str) -> None:
    if task.name != "inpaint":
        raise SettingsError(f"The preset '{preset}' is for the task 'inpaint', not for '{task.name}'.")


def original_region(task: Task) -> Recipe:
    """The original's settings for a region of medium size ("vase"): coordinates as z, no skips.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _only_inpainting(task, "original-region")
    network = partial(STANDARD, skip=(0,) * 5, upsample="nearest")
    return Recipe(network, latents.meshgrid, steps=5001, jitter=0.03)


def original_hole(task: Task) -> Recipe:
    """The original's settings for a large hole ("library"): six scales, kernels of 5, no skips.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _only_inpainting(task, "original-hole")
    widths = (16, 32, 64, 128, 128, 128)
    network = partial(STANDARD, down=widths, up=widths, skip=(0,) * 6, kernel_down=5, upsample="nearest", pointwise_up=False)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001)


def original_hole_unet(task: Task) -> Recipe:
    """The original's U-Net for a large hole ("library"): five levels of width 8 to 128.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _only_inpainting(task, "original-hole-unet")
    network = partial(networks.unet, feature_scale=8, more_layers=1)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001, lr=0.001)


def original_hole_resnet(task: Task) -> Recipe:
    """The original's residual network for a large hole ("library"): eight blocks of 32 channels.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _only_inpainting(task, "original-hole-resnet")
    network = partial(networks.resnet, blocks=8, channels=32)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001, lr=0.001)


_QUICK_STEPS = {"denoise": 1800, "jpeg": 1800, "inpaint": 2000, "missing-pixels": 2500, "flash": 600}


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
    steps = min(recipe.steps, _QUICK_STEPS.get(task.name, 1800))
    lr = 0.01 if task.name in ("missing-pixels", "flash") else recipe.lr
    return replace(recipe, network=network, steps=steps, lr=lr, note="")


_FAST_STEPS = {"super-resolve": 400, "missing-pixels": 1850}
"""For 128x128 pixels."""
_LARGE = 192
"""Side from which on a tenth of the original's time is too short to denoise by Adam, which at 128x128 is ahead of Muon, and
from which on the narrow network has too few filters to fill in the other half of the pixels."""
_TILE = 384
"""Side up to which networks so narrow and so few steps do for the whole image."""


def fast(task: Task) -> Recipe:
    """Made to be as good as the original at its best in less than a tenth of the time of its recipe; nothing in it is learned.

    Two fits of an even, narrow network (three or four, where there is time: large noisy images, missing pixels), whose images
    are averaged, because much of the error of a fit is its own and not the prior's. Each is short: Adam forgets sooner (betas
    0.8 and 0.9), and the image is the average of the outputs over about the last ninth of the steps. Where the noise is
    Gaussian of a known level a fit ends when its residual has the size of the noise (the discrepancy principle). Elsewhere it
    takes a fixed number of steps, more for larger images, with the power 3/2 of their side. The filters' steps are Muon's;
    where noise is to be removed, which Muon fits as readily as it fits the image, they are half as long, or Adam's, where the
    image is so small that there are steps enough. With less jitter, a fit of a large noisy image is at its best a third
    sooner, and hardly worse, which leaves time for three. A large image that misses pixels takes a network twice as wide, with
    wide skips and 64 channels of noise, for less than half of the steps, as many at any size: the narrow one comes to its best
    sooner, and that is not good enough. Images of more than 384 pixels a side are fitted in tiles, for which the networks are
    wide enough. benchmarks/time_to_quality.py measures it, benchmarks/variants.py each of these choices. JPEG artefacts and
    flash take the recipe of :func:`quick`.

    Args:
        task: Any task; benchmarks/README.md says on which ones it was measured.

    Returns:
        The recipe.
    """
    lean = quick(task)
    if task.name in ("jpeg", "flash"):
        return lean
    known = task.name == "denoise" and task.fidelity is gaussian and bool(task.noise_sigma)
    side = math.sqrt(task.shape[-1] * task.shape[-2])
    scale = side / 128
    large_and_noisy = task.name == "denoise" and side >= _LARGE
    filling = task.name == "missing-pixels"
    wide = filling and side >= _LARGE and not _hardly_known(task)
    runs = 4 if wide else 3 if large_and_noisy or filling else 2
    # What keeps the fits together below a tenth of the time: steps of all of them, as a share of the original's.
    share = 0.84 if large_and_noisy else 0.36 if wide else min(0.6 * max(scale, math.sqrt(scale)), 0.9)
    most = original(task).steps * share / runs
    wanted = max(200, _FAST_STEPS.get(task.name, 1000) * scale**1.5)
    optimizer = partial(muon, betas=(0.8, 0.9))
    if task.name == "denoise":
        optimizer = partial(optimizer, filters=2.0) if large_and_noisy else partial(adam, betas=(0.8, 0.9))
    return replace(
        lean,
        network=EVEN_WIDE if wide else EVEN,
        latent=partial(latents.uniform, channels=64) if wide else lean.latent,
        steps=round(most if known else min(wanted, most)),
        lr=0.005,
        optimizer=optimizer,
        jitter=lean.jitter * (2 / 3 if large_and_noisy else 1),
        average=Growing(1 / 9),
        fallback=None,
        runs=runs,
        rule=Discrepancy() if known else ALL_STEPS,
        tile=_TILE,
    )
