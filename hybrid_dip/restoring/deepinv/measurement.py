"""Measurements of a deepinv physics as tasks: y is one real tensor, the image a real one with channels."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from deepinv.physics import StackedPhysics
from deepinv.utils import TensorList
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, check_kind, describe_given, warn
from hybrid_dip.problem import tasks
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.restoring.deepinv.layout import Units, layout_of, parts_of
from hybrid_dip.restoring.deepinv.noise import Likelihood, join, likelihood_of
from hybrid_dip.restoring.deepinv.operator import Noiseless, Seen


def _own_parameters(physics: Sequence[nn.Module], count: int) -> bool:
    """Whether each image of a batch is measured by parameters of its own, such as a mask. Levels of noise do not count."""
    named = [pair for one in physics for group in (one.named_buffers(), one.named_parameters()) for pair in group]
    return count > 1 and any(one.ndim > 1 and len(one) == count for name, one in named if "noise_model" not in name)


def _noise_of(physics: nn.Module, part: Tensor, index: int, positive: bool) -> Likelihood:
    """The likelihood of one measurement of a batch. Half the variance of complex noise is real, half imaginary."""
    found = likelihood_of(getattr(physics, "noise_model", None), index, len(part))
    if found.needs_positive and not positive:
        warn(
            f"The likelihood of deepinv's {type(physics.noise_model).__name__} needs A x above 0: give a value_range, such as "
            "(0, 1); least squares is taken."
        )
        return Likelihood(gaussian, gain=found.gain)
    return found if found.sigma is None or not part.is_complex() else replace(found, sigma=found.sigma / 2**0.5)


def _entries(task: Task) -> Tensor | None:
    """1 for the entries of y that depend on the image, 0 for the rest; None where all do.

    Where a mask is, every image gives 0, and y often has no noise either.
    """
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        one, other = (task.forward(torch.rand(task.shape, generator=draw).to(task.observation.device)) for _ in range(2))
    depends = one != other
    if not bool(depends.any()):
        raise SettingsError("The physics measures nothing: its A x is the same for every image.")
    return None if bool(depends.all()) else depends.to(task.observation)


def _checked(y: Tensor | Sequence[Tensor], physics: nn.Module) -> tuple[list[Tensor], list[nn.Module]]:
    """The parts of a measurement, and the physics that measured each."""
    check_kind("The physics", physics, nn.Module, "a deepinv.physics.Physics")
    stacked = isinstance(physics, StackedPhysics)
    each: list[nn.Module] = list(physics.physics_list) if stacked else [physics]  # type: ignore[arg-type]
    listed = isinstance(y, TensorList | list | tuple)
    parts = parts_of(y) if listed or isinstance(y, Tensor) else []
    if listed != stacked or len(parts) != len(each) or not all(isinstance(part, Tensor) for part in parts):
        needed = f"A list of {len(each)} tensors, one for each of the stacked physics," if stacked else "One tensor"
        raise SettingsError(f"{needed} of measurements is needed, got {describe_given(y)}.")
    for one, part in zip(each, parts, strict=True):
        if hasattr(one, "sensor") and not torch.equal(one.sensor(part.clone()), part):  # type: ignore[operator]
            warn(f"The sensor of {type(one).__name__} is left out: y is taken for A x and noise alone.")
    return parts, each


@torch.inference_mode(False)
def tasks_of(
    y: Tensor | Sequence[Tensor],
    physics: nn.Module,
    img_size: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
) -> list[Task]:
    """Make a task of each measurement of a batch.

    Args:
        y: What ``physics(x)`` gave, (B, ...), or a list of such for stacked physics.
        physics: As in :func:`task`.
        img_size: Shape (C, ..., H, W) of an image.
        value_range: As in :func:`task`.

    Returns:
        The tasks.

    Raises:
        SettingsError: As in :func:`task`.
    """
    parts, each = _checked(y, physics)
    count, positive = len(parts[0]), value_range is not None and value_range[0] >= 0
    noise = [[_noise_of(one, part, index, positive) for one, part in zip(each, parts, strict=True)] for index in range(count)]
    parts = [torch.stack([own[k].gain * one for own, one in zip(noise, part, strict=True)]) for k, part in enumerate(parts)]
    layout, units = layout_of(parts if len(each) > 1 else parts[0], physics, img_size, real=value_range is not None)
    if value_range is not None:
        units = [Units(value_range[1] - value_range[0], value_range[0])] * count
    if any(parameter.requires_grad for parameter in physics.parameters()):
        physics = copy.deepcopy(physics)  # the operator of a task is not trained, the caller's may be
    varies = _own_parameters(each, count)
    found = []
    for index in range(count):
        fidelity, sigma, divisors = join(noise[index])
        size = units[index].size
        divisors = [divisor * size if one.scales else 1.0 for divisor, one in zip(divisors, noise[index], strict=True)]
        seen = [Seen([getattr(one, side) for one in noise[index]], divisors) for side in ("given", "expected")]
        made = tasks.linear(
            seen[0]([part[index : index + 1] for part in parts]),
            Noiseless(physics, layout, seen[1], (index, count) if varies else (0, 1), units[index]),
            layout.channels,
            sigma=None if sigma is None else sigma / size,
            fidelity=fidelity,
            value_range=None if value_range is None else (0.0, 1.0),
        )
        found.append(replace(made, weight=_entries(made)))
    return found


def task(
    y: Tensor | Sequence[Tensor],
    physics: nn.Module,
    shape: Sequence[int] | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> Task:
    """Make a task of a deepinv measurement.

    The likelihood is that of the physics' noise model where we have one, and a warning says where not. Entries of y that
    depend on no pixel, such as those a mask leaves, have the weight 0. Complex measurements become two real numbers each,
    stacked ones a row.

    The task restores a real image with channels and values near 1. ``task.forward.image(result.image)`` makes the physics'
    image of it, which is the same for most physics of real images. Depth and time are channels; of a complex image the real
    parts come first, then the imaginary parts. Values within ``value_range`` become [0, 1]. Without one, data far from 1, such
    as raw k-space, are divided by a power of ten.

    Args:
        y: What ``physics(x)`` gave for one image; a list for stacked physics.
        physics: Any linear ``deepinv.physics.Physics``, or a differentiable one. Its sensor is left out.
        shape: Shape (1, C, ..., H, W) of the physics' image. The default is that of ``physics.A_adjoint(y)``.
        value_range: Least and greatest value of the image, such as (0, 1) for a photograph; the image is real then. None where
            it is not limited: nothing is clamped then, networks do not end in a sigmoid, and photon noise and speckle, whose
            likelihoods need A x above 0, are fitted by least squares.

    Returns:
        The task. It has the noise level of the physics where the noise is Gaussian.

    Raises:
        SettingsError: The measurements are not tensors, or of several images; A does not give y's shape, or the same for every
            image; the shape is not known.
    """
    found = tasks_of(y, physics, None if shape is None else shape[1:], value_range)
    if len(found) > 1:
        raise SettingsError(f"A task is of one image, y is of {len(found)}: restore them by HybridDIP, or give y[i : i + 1].")
    return found[0]
