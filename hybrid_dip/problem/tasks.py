"""Tasks from images that are degraded already: no noise is added here and no reference is needed.

Every function returns a :class:`~hybrid_dip.contracts.Task`. Images are tensors (1, C, H, W), arrays (H, W) or (H, W, C), PIL
images or paths (:mod:`hybrid_dip.images.kinds`); noise levels are in units of [0, 1], whatever the image is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fidelity, Task, clamp
from hybrid_dip.errors import HybridDIPError, SettingsError, check_function, describe_error, whole_number
from hybrid_dip.images.compression import compression_of_quality
from hybrid_dip.images.kinds import AnyImage, opened
from hybrid_dip.images.masks import as_mask
from hybrid_dip.images.picture import Picture
from hybrid_dip.problem import fidelity as likelihood
from hybrid_dip.problem import operators
from hybrid_dip.problem.given import (
    ask_for_range,
    check_scale,
    check_sigma,
    check_weight,
    finite_image,
    one_image,
    own_noise,
    real_numbers,
    whole_shape,
)
from hybrid_dip.problem.guides import check_guide
from hybrid_dip.problem.masks import ask_if_inverted
from hybrid_dip.problem.noise_by_detail import noise_of_pairs
from hybrid_dip.problem.noise_estimate import NoiseEstimate, estimate
from hybrid_dip.problem.quantisation import Quantised
from hybrid_dip.problem.resampling import Kernel


def _shape(channels: int, height: int, width: int) -> tuple[int, int, int, int]:
    return (1, channels, height, width)


def paste_known(x: Tensor, task: Task) -> Tensor:
    """Finish by putting the measured pixels back and clamping to the task's range of values."""
    return clamp(x if task.weight is None else torch.where(task.weight > 0, task.observation, x), task)


def denoise(
    observation: AnyImage,
    *,
    sigma: float | None = None,
    fidelity: Fidelity = likelihood.gaussian,
    noise: NoiseEstimate | None = None,
) -> Task:
    """A noisy image; y = x + noise.

    Args:
        observation: (1, C, H, W).
        sigma: Standard deviation of white Gaussian noise in units of [0, 1] (25 grey levels are 25/255).
        fidelity: ``gaussian``, ``poisson`` (shot noise), ``l1`` (salt and pepper) or ``speckle``; only the first has a sigma.
        noise: What Gaussian noise of another kind is, a camera's for one: its level depends on the brightness, and it may be
            alike between neighbours. None: :func:`hybrid_dip.problem.noise.estimate` tells it where no sigma is given.

    Returns:
        The task.

    Raises:
        SettingsError: Not one image, not finite, below 16x16 pixels, sigma negative, a sigma for noise that is not Gaussian,
            or neither sigma nor can the image tell it.
    """
    y = one_image(observation)
    if fidelity is not likelihood.gaussian and sigma is not None:
        raise SettingsError("sigma is the level of Gaussian noise; leave it out for another noise model.")
    if noise is not None and (sigma is not None or fidelity is not likelihood.gaussian):
        raise SettingsError("noise says the level itself, of Gaussian noise: leave out sigma and the fidelity.")
    task = Task(y, _shape(*y.shape[1:]), operators.Identity(), fidelity, noise_sigma=sigma, name="denoise")
    if fidelity is likelihood.gaussian and sigma is None:
        noise = noise or estimate(y, sure=False)
        return replace(
            task, noise_sigma=noise.sigma, precision=noise.precision(y), correlation=() if noise.white else noise.correlation
        )
    check_sigma(y, task.noise_sigma, own_noise(y))
    return task


def jpeg(observation: AnyImage, *, quality: int | None = None) -> Task:
    """An image with JPEG artefacts.

    The original fits it like a noisy one of unknown level. Where the steps of quantisation are known, ``fast`` and
    ``plug-and-play`` keep to what the file says of the image (:mod:`hybrid_dip.problem.quantisation`).

    Args:
        observation: The JPEG file, whose own steps are read; or the decoded image, (1, C, H, W) or of another kind.
        quality: Quality that it was saved with, 1 to 100, where it is not the file itself, or was saved again at a higher one.
            Colour then has half the resolution. None: what the file says, which for other images is nothing.

    Returns:
        The task.

    Raises:
        SettingsError: Not one image, not finite, or below 16x16 pixels; a quality out of range, or one for an image that is
            neither grey nor in colour.
    """
    observation = opened(observation)
    y = one_image(observation)
    known = observation.compression if isinstance(observation, Picture) else None
    known = known if quality is None else compression_of_quality(quality, y.shape[1])
    forward = operators.Identity() if known is None else Quantised(known)
    return Task(y, _shape(*y.shape[1:]), forward, likelihood.gaussian, name="jpeg")


def _masked(observation: AnyImage, mask: AnyImage, name: str, sigma: float, fidelity: Fidelity) -> Task:
    y = finite_image(observation, "The observation")
    known = finite_image(as_mask(mask), "The mask")
    if known.shape[-2:] != y.shape[-2:] or known.shape[1] not in (1, y.shape[1]):
        raise SettingsError(
            f"The mask is {known.shape[-1]}x{known.shape[-2]} with {known.shape[1]} channels, the image "
            f"{y.shape[-1]}x{y.shape[-2]} with {y.shape[1]}; the same size, and one channel or as many, was expected."
        )
    if not bool(((known == 0) | (known == 1)).all()):
        raise SettingsError("The mask must hold only 1 (known) and 0 (to fill in).")
    if float(known.sum()) == 0:
        raise SettingsError("The mask marks no pixel as known (255 in a file, 1 in a tensor): nothing to go by.")
    if float(known.min()) == 1:
        raise SettingsError("The mask marks every pixel as known (255 in a file, 1 in a tensor): nothing to fill in.")
    # What lies under the mask is zeroed, so that nothing can depend on it.
    y = torch.where(known > 0, y, torch.zeros_like(y))
    check_scale(y, known=known)
    sigma = sigma or 0.0
    check_sigma(y, sigma, noise_of_pairs(y, known))
    # Noisy pixels are not worth pasting back.
    finisher = paste_known if sigma == 0 else clamp
    return Task(y, _shape(*y.shape[1:]), operators.Identity(), fidelity, known, sigma or None, finisher=finisher, name=name)


def inpaint(observation: AnyImage, mask: AnyImage, *, sigma: float = 0.0, fidelity: Fidelity = likelihood.gaussian) -> Task:
    """An image with regions to fill in. Known pixels are pasted back into the result, unless they are noisy.

    A mask that leaves less than half of the image causes a warning, for it may be inverted.

    Args:
        observation: (1, C, H, W); what it holds under the mask does not matter.
        mask: (1, 1, H, W) or (1, C, H, W) of 1 (known) and 0 (to fill in).
        sigma: Standard deviation of Gaussian noise on the known pixels, in units of [0, 1].
        fidelity: The noise model of the known pixels.

    Returns:
        The task.

    Raises:
        SettingsError: The mask has another size, is not binary, or marks nothing or everything as known; or a bad image.
    """
    task = _masked(observation, mask, "inpaint", sigma, fidelity)
    ask_if_inverted(task)
    return task


def missing_pixels(
    observation: AnyImage, mask: AnyImage, *, sigma: float = 0.0, fidelity: Fidelity = likelihood.gaussian
) -> Task:
    """An image of which only scattered pixels were measured (the original's "restoration").

    Args:
        observation: (1, C, H, W); what it holds where nothing was measured does not matter.
        mask: (1, 1, H, W) or (1, C, H, W) of 1 (known) and 0 (missing).
        sigma: Standard deviation of Gaussian noise on the known pixels, in units of [0, 1].
        fidelity: The noise model of the known pixels.

    Returns:
        The task.

    Raises:
        SettingsError: The mask has another size, is not binary, or marks nothing or everything as known; or a bad image.
    """
    return _masked(observation, mask, "missing-pixels", sigma, fidelity)


def super_resolve(
    observation: AnyImage,
    *,
    factor: int = 4,
    kernel: Kernel = "lanczos2",
    sigma: float | None = None,
    fidelity: Fidelity = likelihood.gaussian,
) -> Task:
    """A small image to enlarge; y = downsample(x).

    Args:
        observation: (1, C, h, w).
        factor: Whole number, at least 2; the result is (1, C, factor h, factor w).
        kernel: The filter that made it small, see :class:`hybrid_dip.problem.operators.Downsample`; the original assumes
            "lanczos2".
        sigma: Standard deviation of Gaussian noise, in units of [0, 1]; 0 where there is none, None where it is not known.
        fidelity: The noise model.

    Returns:
        The task.

    Raises:
        SettingsError: A factor below 2 or above the image's sides, an unknown kernel, or a bad image.
    """
    y = one_image(observation)
    factor = whole_number("The factor of super-resolution", factor, 2)
    channels, height, width = y.shape[1:]
    if factor > min(height, width):
        raise SettingsError(
            f"The factor {factor} exceeds the sides of the small image ({width}x{height}); no method fills in that much."
        )
    check_sigma(y, sigma, noise_of_pairs(y))
    forward = operators.Downsample(factor, kernel)
    shape = _shape(channels, factor * height, factor * width)
    return Task(y, shape, forward, fidelity, noise_sigma=sigma, name="super-resolve")


def deblur(
    observation: AnyImage,
    psf: Tensor | npt.NDArray[Any],
    *,
    sigma: float | None = None,
    fidelity: Fidelity = likelihood.gaussian,
) -> Task:
    """An image blurred by a known point spread function; y = psf * x.

    Args:
        observation: (1, C, H, W).
        psf: (h, w), at least 0; it is divided by its sum.
        sigma: Standard deviation of Gaussian noise, in units of [0, 1]; 0 where there is none, None where it is not known.
        fidelity: The noise model.

    Returns:
        The task.

    Raises:
        SettingsError: A PSF that is negative, zero or larger than the image, or a bad image.
    """
    y = one_image(observation)
    forward = operators.Blur(psf)
    if psf.shape[0] > y.shape[-2] or psf.shape[1] > y.shape[-1]:
        raise SettingsError(f"The PSF is {psf.shape[1]}x{psf.shape[0]}, larger than the image of {y.shape[-1]}x{y.shape[-2]}.")
    check_sigma(y, sigma, own_noise(y))
    return Task(y, _shape(*y.shape[1:]), forward, fidelity, noise_sigma=sigma, name="deblur")


def flash(observation: AnyImage, guide: AnyImage) -> Task:
    """A dim, noisy photograph and one with flash, which serves as z and lends its edges.

    Args:
        observation: (1, C, H, W), without flash.
        guide: (1, C', H, W), with flash.

    Returns:
        The task.

    Raises:
        SettingsError: The two images differ in size, one of them is bad, or the guide is one colour throughout.
    """
    y = one_image(observation)
    z = one_image(guide, "The guide image")
    if z.shape[-2:] != y.shape[-2:]:
        raise SettingsError(
            f"The guide image is {z.shape[-1]}x{z.shape[-2]}, the image {y.shape[-1]}x{y.shape[-2]}; one size was expected."
        )
    check_guide(z)
    return Task(y, _shape(*y.shape[1:]), operators.Identity(), likelihood.gaussian, latent=z, name="flash")


def demosaic(
    observation: AnyImage,
    *,
    pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = "RGGB",
    sigma: float | None = None,
    fidelity: Fidelity = likelihood.gaussian,
) -> Task:
    """A Bayer mosaic, in which each pixel has one colour only.

    Args:
        observation: (1, 1, H, W), the raw mosaic; or (1, 3, H, W), from which the entries of the pattern are taken.
        pattern: "RGGB", "BGGR", "GRBG" or "GBRG".
        sigma: Standard deviation of Gaussian noise, in units of [0, 1]; 0 where there is none, None where it is not known.
        fidelity: The noise model.

    Returns:
        The task, whose result has three channels.

    Raises:
        SettingsError: An unknown pattern, neither 1 nor 3 channels, or a bad image.
    """
    y = one_image(observation)
    forward = operators.Mosaic(pattern)
    if y.shape[1] not in (1, 3):
        raise SettingsError(f"A Bayer mosaic has 1 channel, or 3 to take it from; got {y.shape[1]}.")
    if y.shape[1] == 3:
        y = forward(y)
    check_sigma(y, sigma, noise_of_pairs(y, apart=2))
    shape = _shape(3, *y.shape[-2:])
    return Task(y, shape, forward, fidelity, noise_sigma=sigma, name="demosaic")


@torch.inference_mode(False)
@torch.enable_grad()
def linear(
    observation: AnyImage,
    forward: Callable[[Tensor], Tensor],
    shape: Sequence[int] | None = None,
    *,
    sigma: float | None = None,
    weight: Tensor | None = None,
    fidelity: Fidelity = likelihood.gaussian,
    latent: AnyImage | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
) -> Task:
    """Your own forward operator, any differentiable one: y = forward(x).

    Args:
        observation: y, of the shape that ``forward`` returns.
        forward: (1, C, H, W) -> y, differentiable. An ``nn.Module`` is moved to the device of the fit; any other callable
            has to work on the device of its input. Its ``locality``, where it has one, says how it is cut into tiles: see
            :class:`hybrid_dip.problem.operators.Locality`.
        shape: (1, C, H, W) of the image to restore, or only (C, H, W) or (H, W), the rest as in y; None: the shape of y.
        sigma: Standard deviation of Gaussian noise on y, in units of y.
        weight: 1 where an entry of y was measured, 0 elsewhere; broadcast to the shape of y.
        fidelity: The noise model.
        latent: A guide image to be used as z.
        value_range: Least and greatest value of the image; None where it is not limited: nothing is clamped then, and networks
            do not end in a sigmoid. Where the measurements ask for values outside of it, a warning says so. Complex data are
            given as two channels: ``torch.view_as_real``.

    Returns:
        The task.

    Raises:
        SettingsError: ``forward`` gives complex numbers, another shape than y, or no gradient with respect to its input; y is
            not finite and real; the weight does not broadcast to y; the guide is one colour throughout.
    """
    observation = real_numbers(observation)
    check_function("The forward operator", forward, "a function of an image")
    latent = None if latent is None else finite_image(latent, "The guide image")
    if not bool(torch.isfinite(observation).all()):
        raise SettingsError("The observation must hold finite real floating-point numbers.")
    if latent is not None:
        check_guide(latent)
    check_weight(weight, observation)
    shape = whole_shape(shape, observation)
    x = torch.full(shape, 0.5, device=observation.device, requires_grad=True)
    try:
        prediction = forward(x)
    except HybridDIPError:
        raise
    except Exception as error:  # the operator may be the user's
        raise SettingsError(f"The forward operator fails on an image of {shape}: {describe_error(error)}.") from None
    if isinstance(prediction, Tensor) and prediction.is_complex():
        raise SettingsError(
            "The forward operator gives complex numbers, whose imaginary part a real y has no room for: let it end with "
            "torch.view_as_real, and do the same to y."
        )
    if not isinstance(prediction, Tensor) or prediction.shape != observation.shape:
        got = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
        raise SettingsError(
            f"The forward operator gives {got} for an image of {shape}; y has the shape {tuple(observation.shape)}: give the "
            f"shape of the image to restore."
        )
    if not prediction.requires_grad:
        raise SettingsError("The forward operator's output does not depend on its input by torch's gradient.")
    if isinstance(forward, nn.Module):
        forward.requires_grad_(False)
    task = Task(observation, shape, forward, fidelity, weight, sigma, latent, value_range=value_range)
    ask_for_range(task, x, prediction)
    return task
