"""What a user gives to make a task of: checked, with one sentence where it is something else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, check_kind, warn
from hybrid_dip.images.kinds import AnyImage, as_tensor
from hybrid_dip.problem.noise_by_detail import estimate_sigma, noise_of_pairs

LEAST_MEAN, LARGEST = 0.25, 16.0
"""The mean of noise is 0, so that of an image in [0, 1] plus noise is hardly outside it. Single values are, up to those of
photon noise of one photon."""
LEAST_BELOW, MOST_DEVIATIONS, MOST_BELOW = 0.1, 2.5, 0.05
"""Of a black image with Gaussian noise, 0.6 % is below -2.5 deviations."""
FAR_OUTSIDE, MOST_OUTSIDE = 0.4, 0.1
"""Of a black image with noise of 75 grey levels, a tenth is below -0.38."""
MUCH, JUST_SEEN = 10.0, 3 / 255
"""A level is doubted where it is wrong by this factor, and by more than fine detail that passes for noise. Noise that is alike
between neighbours is often estimated at a quarter of its level."""


def one_image(image: AnyImage, what: str = "The observation") -> Tensor:
    """Take an image in [0, 1] plus noise.

    Args:
        image: Of any kind that :func:`hybrid_dip.images.kinds.as_tensor` takes.
        what: What it is called in the sentence.

    Returns:
        (1, C, H, W), in single precision, without a graph.

    Raises:
        SettingsError: It is no image, of another shape or scale, or not finite and real.
    """
    x = finite_image(image, what)
    check_scale(x, what)
    return x


def finite_image(image: AnyImage, what: str) -> Tensor:
    """Take an image or a mask, whose values may be on another scale: what lies under a mask has none.

    Args:
        image: As for :func:`one_image`.
        what: What it is called in the sentence.

    Returns:
        (1, C, H, W), in single precision, without a graph.

    Raises:
        SettingsError: It is no image, of another shape, or not finite and real.
    """
    x = real_numbers(image, what)
    if x.ndim != 4 or x.shape[0] != 1:
        raise SettingsError(f"{what} must have the shape (1, C, H, W), got {tuple(x.shape)}.")
    if not bool(torch.isfinite(x).all()):
        raise SettingsError(f"{what} holds NaN or Inf; finite numbers in [0, 1] were expected.")
    return x.detach().float()


def real_numbers(image: AnyImage, what: str = "The observation") -> Tensor:
    """Take numbers, and refuse complex ones, which would lose a part.

    Args:
        image: A tensor of any shape, or an image of any kind.
        what: What it is called in the sentence.

    Returns:
        A tensor of floats.

    Raises:
        SettingsError: It holds complex numbers, or whole ones whose scale is not known.
    """
    x = as_tensor(image, what)
    if x.is_complex():
        raise SettingsError(
            f"{what} is complex ({x.dtype}): give real and imaginary part as two channels, such as "
            "torch.view_as_real(y) makes them, and let the forward operator do the same."
        )
    return x


def check_scale(image: Tensor, what: str = "The observation", known: Tensor | None = None) -> None:
    """Refuse an image that cannot be one in [0, 1] plus noise, whose mean is 0; ask about one that may be in [-1, 1].

    Args:
        image: The image.
        what: What it is called in the sentence.
        known: 1 where an entry was measured, 0 elsewhere; broadcast to the image. None: 1 everywhere.

    Raises:
        SettingsError: Its values are on another scale.
    """
    values = image if known is None else image[known.expand_as(image) > 0]
    low, high, mean = float(values.min()), float(values.max()), float(values.float().mean())
    if not -LEAST_MEAN <= mean <= 1 + LEAST_MEAN or high > LARGEST or low < -LARGEST / 2:
        raise SettingsError(
            f"{what} holds values from {low:.3g} to {high:.3g}, {mean:.3g} in the mean; an image in [0, 1] plus noise was "
            "expected: divide by the largest value that there can be, or for data of another kind take hd.tasks.linear."
        )
    noise = noise_of_pairs(image, known) or 0.0
    if (values < -max(LEAST_BELOW, MOST_DEVIATIONS * noise)).float().mean() > MOST_BELOW:
        warn(
            f"{what} holds many values far below 0 (the least is {low:.3g}): is it in [-1, 1]? [0, 1] plus noise is expected, "
            "which (x + 1) / 2 makes of it."
        )


def check_sigma(y: Tensor, sigma: float | None, own: float | None) -> None:
    """Refuse a noise level that is not in units of [0, 1]; warn where the image has quite another noise.

    Args:
        y: A noisy image.
        sigma: Its noise level; None or 0 is not looked at.
        own: The level that the image itself seems to have; None where it does not say.

    Raises:
        SettingsError: It is above 1.
    """
    if not sigma:
        return
    if sigma > 1:
        raise SettingsError(f"sigma is in units of [0, 1], got {sigma:g}: {sigma:g} of 255 are {sigma:g} / 255.")
    if own is None or own < 1e-6:
        return
    if own > MUCH * sigma + JUST_SEEN or sigma > MUCH * own + JUST_SEEN:
        warn(
            f"The noise level is said to be {255 * sigma:.1f} of 255, the image's own noise is about {255 * own:.1f} of 255; "
            "sigma is in grey levels on the command line, and in units of [0, 1] in Python."
        )


def own_noise(y: Tensor) -> float | None:
    """The noise level that a whole image seems to have, in its units; None where it has no detail to tell by."""
    try:
        return estimate_sigma(y)
    except SettingsError:
        return None


def ask_for_range(task: Task, x: Tensor, prediction: Tensor) -> None:
    """Warn where measurements ask for values that the task's images cannot have, which would be clamped.

    One step of steepest descent goes from an image within the range towards the measurements. They ask for more where many
    values are far outside then, and clamping them makes the misfit twice as large.

    Args:
        task: The task.
        x: An image within its range, which requires a gradient.
        prediction: A x.
    """
    if task.value_range is None:
        return
    low, high = task.value_range
    (slope,) = torch.autograd.grad((prediction - task.observation).square().sum() / 2, x)
    with torch.no_grad():
        along = task.forward(x + slope) - prediction
        length = slope.square().sum() / along.square().sum().clamp(min=torch.finfo(along.dtype).tiny)
        nearer = x - length * slope
        far = FAR_OUTSIDE * (high - low)
        outside = float(((nearer < low - far) | (nearer > high + far)).float().mean())
        free, clamped = (float(task.residual(image).square().sum()) for image in (nearer, nearer.clamp(low, high)))
    if outside > MOST_OUTSIDE and clamped > 2 * free:
        warn(
            f"The measurements ask for values from {float(nearer.min()):.3g} to {float(nearer.max()):.3g}, the image is "
            f"clamped to [{low:g}, {high:g}]: give its value_range, or None for any values."
        )


def whole_shape(shape: Sequence[int] | None, y: Tensor) -> tuple[int, int, int, int]:
    """Take the shape of the image to restore: (1, C, H, W), or its end, the rest as in y.

    Args:
        shape: The shape, or None for that of y.
        y: The observation.

    Returns:
        (1, C, H, W).

    Raises:
        SettingsError: It is no shape.
    """
    if shape is None or (isinstance(shape, Sequence) and not isinstance(shape, str)):
        given = tuple(shape or ())
        whole = (*y.shape[: max(0, 4 - len(given))], *given)
        if len(whole) == 4 and all(isinstance(side, int) and side > 0 for side in whole):
            return whole[0], whole[1], whole[2], whole[3]
    raise SettingsError(f"The image to restore must be of a shape (1, C, H, W), got {shape} for y of {tuple(y.shape)}.")


def check_weight(weight: Tensor | None, y: Tensor) -> None:
    """Refuse a weight that does not broadcast to y.

    Args:
        weight: What was given for one, or None.
        y: The observation.

    Raises:
        SettingsError: It does not, or is no tensor.
    """
    check_kind("The weight", weight, Tensor | None, "a tensor")
    if weight is not None:
        try:
            weight.expand_as(y)
        except RuntimeError:
            raise SettingsError(
                f"The weight of shape {tuple(weight.shape)} does not broadcast to y, {tuple(y.shape)}."
            ) from None
