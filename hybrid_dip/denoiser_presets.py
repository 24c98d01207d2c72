"""Presets made of a denoiser: a learned prior without a fit, to compare with, and a fit that a denoiser goes on from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from hybrid_dip import latents, networks
from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.denoisers import Denoiser, nlm
from hybrid_dip.errors import SettingsError
from hybrid_dip.fidelity import gaussian
from hybrid_dip.plug_and_play import NOISELESS, PlugAndPlay, nearest_explanation
from hybrid_dip.presets import Preset, Recipe, described, fast

GREY = 0.5
"""What an image is taken for where the observation says nothing."""


@dataclass(frozen=True, eq=False)
class Ready:
    """Makes the network x = theta that starts at an image.

    Attributes:
        image: Makes the image, on the CPU.
        about: How, in plain numbers and strings.
    """

    image: Callable[[], Tensor]
    about: dict[str, Any]

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """The pixels; both numbers are those of the task's image."""
        # A sketch is made on the meta device, but y is an image.
        with torch.no_grad(), torch.device("cpu"):
            return networks.Pixels(self.image().detach())

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        return {"name": "pixels", "start": self.about}


def _without_fit(image: Callable[[], Tensor], about: dict[str, Any]) -> Recipe:
    """The network x = theta starts at the image, and is kept before its first step."""
    # A network is made more than once, to count its parameters and to fit it.
    return Recipe(Ready(cache(image), about), partial(latents.uniform, channels=1), steps=1)


def one_shot(task: Task, denoiser: Annotated[Denoiser, "denoisers"] = nlm) -> Recipe:
    """A denoiser alone, applied once to the observation: the learned prior without a fit, to compare with.

    Args:
        task: Denoising of Gaussian noise.
        denoiser: (x, sigma) -> x; on the command line ``one-shot:denoiser=bundled``.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or another noise.
    """
    return _without_fit(_denoised(task, denoiser, "one-shot"), described(denoiser))


def _denoised(task: Task, denoiser: Denoiser, preset: str) -> Callable[[], Tensor]:
    """What makes D(y), on the CPU."""
    if task.name != "denoise" or task.noise_sigma is None:
        raise SettingsError(f"The preset '{preset}' is for the task 'denoise' with Gaussian noise; for others: plug-and-play.")
    sigma = max(task.noise_sigma, LEAST_SIGMA)
    return lambda: denoiser(task.observation.cpu(), sigma)


def plug_and_play(
    task: Task,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm,
    first: float = 50 / 255,
    last: float = 3 / 255,
    rounds: int = 30,
) -> Recipe:
    """A denoiser and the observation in turn, see :mod:`hybrid_dip.plug_and_play`: the learned prior without a fit.

    Args:
        task: With a linear operator and Gaussian noise, or none.
        denoiser: (x, sigma) -> x; on the command line ``plug-and-play:denoiser=bundled``.
        first: Noise level of the first round, 0..1.
        last: Of the last round.
        rounds: How many.

    Returns:
        The recipe.

    Raises:
        SettingsError: Noise levels or rounds out of range, or another noise.
    """
    going = PlugAndPlay(denoiser, first, last, rounds)
    going.check(task)

    def image() -> Tensor:
        here = task.to("cpu")
        return going(nearest_explanation(torch.full(task.shape, GREY), here, NOISELESS**2), here)

    return _without_fit(image, going.describe())


@dataclass(frozen=True, eq=False)
class Guide:
    """Makes the latent, which is an image.

    Attributes:
        image: Makes the image, on the CPU.
        about: How, in plain numbers and strings.
    """

    image: Callable[[], Tensor]
    about: dict[str, Any]

    def __call__(self, size: tuple[int, int]) -> Tensor:
        """The image; the size is its own."""
        with torch.no_grad(), torch.device("cpu"):
            return latents.image(self.image())

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        return {"name": "denoised observation", "denoiser": self.about}


def guided(task: Task, preset: Annotated[Preset, "presets"] = fast, denoiser: Annotated[Denoiser, "denoisers"] = nlm) -> Recipe:
    """Another preset, whose latent is the denoised observation: the fit only has to learn what to change about it.

    Goes well with ``-R denoised-observation:denoiser=NAME@10 --stop max_steps``: noise is a small part of what is fitted then.
    That an image in place of noise as z leads a fit is the original's flash/no-flash task.

    Args:
        task: Denoising of Gaussian noise.
        preset: Of the fit; on the command line ``guided:preset=quick,denoiser=bundled``.
        denoiser: (x, sigma) -> x.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or another noise.
    """
    made = cache(_denoised(task, denoiser, "guided"))
    return replace(preset(task), latent=Guide(made, described(denoiser)))


def refined(
    task: Task,
    preset: Annotated[Preset, "presets"] = fast,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm,
    first: float = 10 / 255,
    last: float = 3 / 255,
    rounds: int = 5,
) -> Recipe:
    """Another preset, whose image a denoiser goes on from: the image's own prior first, then a learned one.

    A short run of plug-and-play from a low noise level, so that it changes what the fit has left open and no more.

    Args:
        task: With a linear operator and Gaussian noise, or none.
        preset: Of the fit; on the command line ``refined:preset=quick,denoiser=bundled``.
        denoiser: (x, sigma) -> x.
        first: Noise level of the first round, 0..1: how wrong the fit's image is taken to be.
        last: Of the last round.
        rounds: How many.

    Returns:
        The recipe.

    Raises:
        SettingsError: Noise levels or rounds out of range, another noise, or the preset is for other tasks.
    """
    if task.fidelity is not gaussian:
        raise SettingsError("The preset 'refined' is for Gaussian noise or none.")
    return replace(preset(task), refine=PlugAndPlay(denoiser, first, last, rounds))
