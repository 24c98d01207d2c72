"""The table of the original implementation (Ulyanov, Vedaldi & Lempitsky, "Deep Image Prior", CVPR 2018 and IJCV 2020)."""

from collections.abc import Mapping
from functools import partial

from torch import nn

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.networks import latents
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.recipes.recipe import Preset, Recipe

STANDARD = partial(
    networks.skip,
    down=(128,) * 5,
    up=(128,) * 5,
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""The paper's standard network: 5 scales of 128 channels, 4 channels in each skip, 2.2 million parameters."""

INVERTING = partial(
    networks.skip,
    down=(16, 32, 64, 128, 128, 128),
    up=(16, 32, 64, 128, 128, 128),
    downsample="avg",
)
"""The original's six scales for looking into networks: inverted features and maximal activations."""

NOISE = partial(latents.uniform, channels=32)
"""Noise uniform on [0, 0.1] in 32 channels, the original's standard input."""
NORMAL = partial(latents.normal, channels=32)
"""Gaussian noise of deviation 0.1 in 32 channels."""
FEWEST_SCATTERED = 0.1
"""Share of known pixels below which ``missing-pixels`` takes the original's recipe for 98 % missing."""


def draw_downsampler(task: Task) -> None:
    """Draw the weights that torch gives the original's downsampler, a convolution, before the filter takes their place.

    Args:
        task: Super-resolution; for any other task nothing is drawn.
    """
    filter_of = getattr(task.forward, "taps", None)
    if filter_of is not None:
        nn.Conv2d(task.shape[1], task.shape[1], len(filter_of))


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
    return Recipe(STANDARD, NOISE, steps=steps, jitter=jitter, latent_first=True, spare_draws=draw_downsampler)


def _inpaint_text(task: Task) -> Recipe:
    network = partial(STANDARD, skip=(128,) * 5, upsample="nearest")
    return Recipe(network, NOISE, steps=6001, jitter=0.03)


def hardly_known(task: Task) -> bool:
    """Whether fewer pixels are known than the original's recipe for half of the pixels is meant for."""
    return float(task.measured) < FEWEST_SCATTERED * task.observation.numel()


def _missing_pixels(task: Task) -> Recipe:
    if hardly_known(task):
        widths = (16, 32, 64, 128, 128)
        network = partial(STANDARD, down=widths, up=widths, skip=(0,) * 5, downsample="avg")
        return Recipe(network, NOISE, steps=1000, fallback=5.0, log_every=50)
    return Recipe(STANDARD, NOISE, steps=11000, lr=0.001, jitter=0.03, fallback=5.0, log_every=50)


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


def _other_task(task: Task) -> Recipe:
    note = f"The paper has no recipe for '{task.name}'; this is its standard network with its super-resolution settings."
    return Recipe(STANDARD, NOISE, steps=2000, jitter=0.03, note=note)


_RECIPES: Mapping[str, Preset] = {
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
    """The paper's settings for each task; for inpainting its recipe for text ("kate").

    Args:
        task: Any task; one that the paper does not have gets the standard network, and a note that says so.

    Returns:
        The recipe.
    """
    return _RECIPES.get(task.name, _other_task)(task)


def _check_inpainting(task: Task, preset: str) -> None:
    if task.name != "inpaint":
        raise SettingsError(f"The preset '{preset}' is for the task 'inpaint', not for '{task.name}'.")


def original_region(task: Task) -> Recipe:
    """The paper's settings for a region of medium size ("vase"): coordinates as z, no skips.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _check_inpainting(task, "original-region")
    network = partial(STANDARD, skip=(0,) * 5, upsample="nearest")
    return Recipe(network, latents.meshgrid, steps=5001, jitter=0.03)


def original_hole(task: Task) -> Recipe:
    """The paper's settings for a large hole ("library"): six scales, kernels of 5, no skips.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _check_inpainting(task, "original-hole")
    widths = (16, 32, 64, 128, 128, 128)
    network = partial(STANDARD, down=widths, up=widths, skip=(0,) * 6, kernel_down=5, upsample="nearest", pointwise_up=False)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001)


def original_hole_unet(task: Task) -> Recipe:
    """The paper's U-Net for a large hole ("library"): five levels of width 8 to 128.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _check_inpainting(task, "original-hole-unet")
    network = partial(networks.unet, feature_scale=8, more_layers=1)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001, lr=0.001)


def original_hole_resnet(task: Task) -> Recipe:
    """The paper's residual network for a large hole ("library"): eight blocks of 32 channels.

    Args:
        task: An inpainting task.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task.
    """
    _check_inpainting(task, "original-hole-resnet")
    network = partial(networks.resnet, blocks=8, channels=32)
    return Recipe(network, partial(latents.uniform, channels=1), steps=3001, lr=0.001)
