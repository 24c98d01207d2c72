"""Clean image -> :class:`Case`: the degraded task, the clean reference, and the protocol of both.

The mirror image of :mod:`hybrid_dip.problem.tasks`, for studies and tests. The clean image may be a tensor, an array, a PIL
image or a path. Each function draws from its own generator, so the same seed gives the same degradation whatever was drawn
before.
"""

import io
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.contracts import Case, MeasurementProtocol
from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error, nearest
from hybrid_dip.images.kinds import AnyImage
from hybrid_dip.images.pillow_images import as_pillow
from hybrid_dip.problem import operators, tasks
from hybrid_dip.problem.camera import draw_camera, take_photograph
from hybrid_dip.problem.given import finite_image, one_image
from hybrid_dip.problem.noise import (
    NOISES,
    Noise,
    add_gaussian,
    add_photon_noise,
    add_salt_and_pepper,
    add_speckle,
    fraction,
)
from hybrid_dip.problem.resampling import Kernel

CLEAN = "The clean image"


def noisy(
    clean: AnyImage,
    *,
    sigma: float | None = None,
    noise: Noise = "gaussian",
    peak: float | None = None,
    share: float | None = None,
    looks: float | None = None,
    seed: int = 0,
    clip: bool = False,
) -> Case:
    """Denoising: Gaussian noise, photon noise, salt and pepper, speckle, or a photograph by a camera.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        sigma: Standard deviation of Gaussian noise, in units of [0, 1]; 25/255 by default.
        noise: "gaussian"; "poisson": y = Poisson(peak x) / peak; "l1": a share of the entries becomes 0 or 1;
            "speckle": y = x n, n Gamma-distributed with mean 1 and variance 1 / looks, drawn for each entry; "camera": a
            photograph by a camera that is drawn (:mod:`hybrid_dip.problem.camera`), three channels with even sides.
        peak: Photons at white, for "poisson"; 30 by default.
        share: Share of the entries that salt and pepper hit, for "l1"; 0.1 by default.
        looks: How many intensities are averaged, for "speckle"; 4 by default.
        seed: Seed of the noise.
        clip: Clip Gaussian noise to [0, 1].

    Returns:
        The case; its task knows sigma where the noise is Gaussian.

    Raises:
        SettingsError: A level out of range or of another noise, or an unknown noise.
    """
    clean = one_image(clean, CLEAN)
    if noise not in (*NOISES, "camera"):
        raise SettingsError(f"Unknown noise '{noise}': {nearest(noise, [*NOISES, 'camera'])}.")
    levels = {
        "gaussian": ("sigma", sigma, 25 / 255),
        "poisson": ("peak", peak, 30.0),
        "l1": ("share", share, 0.1),
        "speckle": ("looks", looks, 4.0),
    }
    for other, (name, given, _) in levels.items():
        if given is not None and other != noise:
            raise SettingsError(f"{name} is a level of '{other}' noise, not of '{noise}'.")
    if noise == "camera":
        return _photograph(clean, seed)
    _, given, default = levels[noise]
    level = default if given is None else given
    protocol = MeasurementProtocol(clipped=clip and noise == "gaussian")
    if noise == "gaussian":
        y = add_gaussian(clean, level, seed=seed, clip=clip)
        return Case(tasks.denoise(y, sigma=level), clean, f"gaussian {255 * level:g}", protocol)
    draws = {
        "poisson": ("poisson", add_photon_noise),
        "l1": ("salt and pepper", add_salt_and_pepper),
        "speckle": ("speckle", add_speckle),
    }
    title, draw = draws[noise]
    y = draw(clean, level, seed=seed)
    return Case(tasks.denoise(y, fidelity=NOISES[noise]), clean, f"{title} {level:g}", protocol)


def _photograph(clean: Tensor, seed: int) -> Case:
    """A photograph; the reference is the same without noise, in the camera's colours."""
    height, width = clean.shape[-2:]
    if clean.shape[1] != 3 or height % 2 or width % 2:
        raise SettingsError(f"A camera takes three channels with even sides, got {clean.shape[1]} of {width}x{height}.")
    draw = torch.Generator().manual_seed(seed)
    photograph, reference = take_photograph(clean, draw_camera(draw), draw)
    return Case(tasks.denoise(photograph), reference, f"camera {seed}", MeasurementProtocol(clipped=True))


STAND_INS = ("image", "noisy", "shuffled", "noise")
"""What may be fitted in place of an image, from the most natural to the least."""


def stand_in(clean: AnyImage, *, target: str = "shuffled", sigma: float = 25 / 255, seed: int = 0) -> Case:
    """A target to be fitted as it is: how readily does a network fit what (Deep Image Prior, Figure 2)?

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        target: "image": the image; "noisy": with Gaussian noise, clipped to [0, 1]; "shuffled": its pixels in random order, so
            with the same histogram; "noise": uniform on [0, 1].
        sigma: Standard deviation for "noisy", in units of [0, 1].
        seed: Seed of the draw.

    Returns:
        A case whose observation and reference are the target.

    Raises:
        SettingsError: Another target.
    """
    clean = one_image(clean, CLEAN)
    if target not in STAND_INS:
        raise SettingsError(f"Unknown target '{target}': {nearest(target, list(STAND_INS))}.")
    if target == "image":
        y = clean.clone()
    elif target == "noisy":
        y = add_gaussian(clean, sigma, seed=seed, clip=True)
    elif target == "noise":
        y = torch.rand(clean.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed))
    else:
        order = torch.randperm(clean[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
        y = clean.flatten(2)[..., order].view_as(clean)
    return Case(tasks.denoise(y, sigma=0.0), y, target)


def jpeg_compressed(clean: AnyImage, *, quality: int = 10) -> Case:
    """JPEG artefacts.

    Args:
        clean: The image, (1, C, H, W) in [0, 1], C 1 or 3.
        quality: Pillow's quality, 1 to 95.

    Returns:
        The case; its task knows the steps of quantisation.

    Raises:
        SettingsError: A quality out of range, or neither 1 nor 3 channels.
    """
    clean = one_image(clean, CLEAN)
    if not 1 <= quality <= 95 or clean.shape[1] not in (1, 3):
        raise SettingsError(f"JPEG takes a quality of 1 to 95 and 1 or 3 channels, got {quality} and {clean.shape[1]}.")
    buffer = io.BytesIO()
    as_pillow(clean).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return Case(tasks.jpeg(image), clean, f"jpeg {quality}")


def _tensor(image: Image.Image) -> Tensor:
    """(1, C, H, W) in [0, 1] of 8 bits for each channel."""
    planes = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(planes.reshape(image.height, image.width, -1)).permute(2, 0, 1)[None]


def masked(clean: AnyImage, mask: AnyImage, *, sigma: float = 0.0, seed: int = 0) -> Case:
    """Inpainting: hide what the mask marks with 0.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        mask: (1, 1, H, W) or (1, C, H, W) of 1 (known) and 0 (to fill in).
        sigma: Standard deviation of Gaussian noise on the known pixels, in units of [0, 1].
        seed: Seed of the noise.

    Returns:
        The case.

    Raises:
        SettingsError: A mask that does not go with the image.
    """
    clean = one_image(clean, CLEAN)
    y = add_gaussian(clean, sigma, seed=seed)
    task = tasks.inpaint(y, mask, sigma=sigma)
    assert task.weight is not None
    protocol = MeasurementProtocol(missing="pixel" if task.weight.shape[1] == 1 else "entry")
    return Case(task, clean, "inpaint", protocol)


def scattered(
    clean: AnyImage, *, share: float = 0.5, per: Literal["pixel", "entry"] = "pixel", sigma: float = 0.0, seed: int = 0
) -> Case:
    """Keep a random share of the pixels.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        share: Share of the pixels that are kept, in (0, 1).
        per: "pixel": all channels of a pixel together; "entry": each channel alone.
        sigma: Standard deviation of Gaussian noise on the known pixels, in units of [0, 1].
        seed: Seed of the choice and of the noise.

    Returns:
        The case.

    Raises:
        SettingsError: A share out of range or an unknown ``per``.
    """
    clean = one_image(clean, CLEAN)
    if per not in ("pixel", "entry"):
        raise SettingsError(f"Unknown per '{per}': {nearest(per, ['pixel', 'entry'])}.")
    channels = 1 if per == "pixel" else clean.shape[1]
    draw = torch.rand((1, channels, *clean.shape[-2:]), dtype=torch.float32, generator=torch.Generator().manual_seed(seed))
    mask = (draw < fraction("share", share)).float()
    y = add_gaussian(clean, sigma, seed=seed + 1)
    task = tasks.missing_pixels(y, mask, sigma=sigma)
    return Case(task, clean, f"{100 * (1 - share):g} % missing", MeasurementProtocol(missing=per))


def downsampled(
    clean: AnyImage,
    *,
    factor: int = 4,
    kernel: Kernel | Literal["pil"] = "pil",
    sigma: float = 0.0,
    seed: int = 0,
) -> Case:
    """Super-resolution: crop to a multiple of the factor and shrink.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        factor: Whole number, at least 2.
        kernel: "pil" shrinks as the original does, by Pillow's antialiased Lanczos filter in 8 bit (and restores assuming
            "lanczos2", as the original does); any other kernel both makes the small image and is assumed.
        sigma: Standard deviation of Gaussian noise, in units of [0, 1].
        seed: Seed of the noise.

    Returns:
        The case, measured on Y without a border of as many pixels as the factor.

    Raises:
        SettingsError: A factor below 2 or above the image's sides, or "pil" with neither 1 nor 3 channels.
    """
    clean = one_image(clean, CLEAN)
    height, width = (side // max(factor, 1) * factor for side in clean.shape[-2:])
    if factor < 2 or min(height, width) == 0:
        raise SettingsError(
            f"The factor must be at least 2 and at most the image's sides ({clean.shape[-1]}x{clean.shape[-2]}), got {factor}."
        )
    reference = clean[..., :height, :width]
    if kernel == "pil":
        if clean.shape[1] not in (1, 3):
            raise SettingsError(f"Pillow shrinks images of 1 or 3 channels, got {clean.shape[1]}; name another kernel.")
        y = _tensor(as_pillow(reference).resize((width // factor, height // factor), Image.Resampling.LANCZOS)).contiguous()
        assumed: Kernel = "lanczos2"
    else:
        y = operators.Downsample(factor, kernel)(reference)
        assumed = kernel
    task = tasks.super_resolve(add_gaussian(y, sigma, seed=seed), factor=factor, kernel=assumed, sigma=sigma)
    lowres = "Pillow LANCZOS, 8 bit" if kernel == "pil" else kernel
    return Case(task, reference, f"x{factor}", MeasurementProtocol(channel="y", border=factor, lowres=lowres))


def blurred(clean: AnyImage, psf: Tensor | npt.NDArray[Any], *, sigma: float = 0.0, seed: int = 0) -> Case:
    """Blur by a known point spread function.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        psf: (h, w), not negative.
        sigma: Standard deviation of Gaussian noise, in units of [0, 1].
        seed: Seed of the noise.

    Returns:
        The case.

    Raises:
        SettingsError: A PSF that is negative, zero or larger than the image.
    """
    clean = one_image(clean, CLEAN)
    y = add_gaussian(operators.Blur(psf)(clean), sigma, seed=seed)
    return Case(tasks.deblur(y, psf, sigma=sigma), clean, "blur")


def mosaicked(
    clean: AnyImage,
    *,
    pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB",
    sigma: float = 0.0,
    seed: int = 0,
) -> Case:
    """Take a Bayer mosaic.

    Args:
        clean: The image, (1, 3, H, W) in [0, 1].
        pattern: "RGGB", "BGGR", "GRBG" or "GBRG".
        sigma: Standard deviation of Gaussian noise, in units of [0, 1].
        seed: Seed of the noise.

    Returns:
        The case.

    Raises:
        SettingsError: An unknown pattern or not three channels.
    """
    clean = one_image(clean, CLEAN)
    y = add_gaussian(operators.Mosaic(pattern)(clean), sigma, seed=seed)
    return Case(tasks.demosaic(y, pattern=pattern, sigma=sigma), clean, f"mosaic {pattern}")


def measured(clean: AnyImage, operator: Callable[[Tensor], Tensor], *, sigma: float = 0.0, seed: int = 0) -> Case:
    """Measure by your own operator.

    Args:
        clean: The image, (1, C, H, W) in [0, 1].
        operator: (1, C, H, W) -> y, differentiable.
        sigma: Standard deviation of Gaussian noise on y, in units of y.
        seed: Seed of the noise.

    Returns:
        The case.

    Raises:
        SettingsError: An operator that fails, or is cut off from its input's gradient.
    """
    clean = finite_image(clean, CLEAN)
    try:
        with torch.no_grad():
            y = operator(clean)
    except HybridDIPError:
        raise
    except Exception as error:  # the operator may be the user's
        raise SettingsError(f"The forward operator fails on {tuple(clean.shape)}: {describe_error(error)}.") from None
    if not isinstance(y, Tensor):
        raise SettingsError(f"The forward operator must return a tensor, got {type(y).__name__}.")
    return Case(tasks.linear(add_gaussian(y, sigma, seed=seed), operator, tuple(clean.shape), sigma=sigma), clean, "linear")
