"""Presets without a fit, for comparison: no prior, or a denoiser alone; and fits that a denoiser begins or ends."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.solvers.plug_and_play import EXACT, PlugAndPlay, noise_level
from hybrid_dip.networks import latents
from hybrid_dip.problem.fidelity import gaussian, poisson
from hybrid_dip.problem.least_squares import interpolation, nearest_explanation
from hybrid_dip.problem.quantisation import box_of, knows_steps
from hybrid_dip.recipes.fast import fast
from hybrid_dip.recipes.recipe import Preset, Recipe, settings_of
from hybrid_dip.regularisers.denoisers import Denoiser, nlm
from hybrid_dip.regularisers.observed import denoised_observation

HELD_OUT_ROUNDS = 5
"""Rounds of plug-and-play that stand in for a denoiser alone where it lacks pixels."""


@dataclass(frozen=True, eq=False)
class FromObservation:
    """An image that is made from a task's observation, once, on the CPU.

    Attributes:
        make: Task -> image.
        task: The task that has the observation.
        about: How the image is made, in plain numbers and strings.
    """

    make: Callable[[Task], Tensor]
    task: Task
    about: dict[str, Any]

    @cached_property
    def image(self) -> Tensor:
        """The image, (1, C, H, W)."""
        # A sketch is made on the meta device, but this image needs its values.
        with torch.no_grad(), torch.device("cpu"):
            return self.make(self.task.to("cpu")).detach()

    def bind(self, task: Task) -> Self:
        """The same for another task, such as the part that is left where data are held out."""
        return replace(self, task=task)


class PixelsFromObservation(FromObservation):
    """Makes the network x = theta that starts at the image."""

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network; the numbers of channels are those of the image."""
        return networks.Pixels(self.image)

    def describe(self) -> dict[str, Any]:
        """The settings for a manifest."""
        return {"name": "pixels", "start": self.about}


def _without_fit(image: PixelsFromObservation) -> Recipe:
    """A recipe whose network x = theta starts at the image, and is kept before its first step."""
    return Recipe(image, partial(latents.uniform, channels=1), steps=1)


def check_without_fit(recipe: Recipe, given: Iterable[str]) -> None:
    """Refuse settings of a fit for a preset without one: steps would fit the pixels to their noise.

    Args:
        recipe: Recipe of a preset.
        given: Names of settings that the user gave.

    Raises:
        SettingsError: The user gave settings, and the preset has no fit.
    """
    names = ", ".join(name.replace("_", "-") for name in given)
    if names and isinstance(recipe.network, PixelsFromObservation):
        raise SettingsError(f"This preset is a denoiser without a fit, for which {names} cannot be set: leave it out.")


def baseline(task: Task) -> Recipe:
    """No fit and no prior: what the observation shows, and where it shows nothing its surroundings.

        argmin_x |A x - y|^2 + max(sigma^2, 1e-4) |x - v|^2

    v is the mean of what is known around each pixel. So a noisy image is y, missing pixels are what surrounds them, and a small
    image becomes much like its bicubic enlargement. An attribution counts from this image.

    Args:
        task: A task with a linear A.

    Returns:
        The recipe.
    """
    return _without_fit(PixelsFromObservation(_least_squares, task, {"name": "least squares"}))


def _least_squares(task: Task) -> Tensor:
    return nearest_explanation(interpolation(task), task, max((task.noise_sigma or 0.0) ** 2, 1e-4))


def one_shot(task: Task, denoiser: Annotated[Denoiser, "denoisers"] = nlm) -> Recipe:
    """No fit: a denoiser applied once to a noisy image, as in ``one-shot:denoiser=NAME``.

    ``one-shot`` alone is non-local means, a classical denoiser; ``one-shot:denoiser=bundled`` is the learned one. As nothing is
    fitted, steps cannot be asked for, and regularisers have no effect.

    Args:
        task: Denoising of Gaussian or of photon noise.
        denoiser: (x, sigma) -> x.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or another noise.
    """
    check_denoising(task, "one-shot")
    return _without_fit(PixelsFromObservation(partial(_denoise, denoiser), task, settings_of(denoiser)))


def check_denoising(task: Task, preset: str) -> None:
    """Refuse a task that is not denoising of Gaussian or of photon noise.

    Args:
        task: The task.
        preset: Name of the preset, for the sentence.

    Raises:
        SettingsError: It is another.
    """
    if task.name != "denoise" or (task.noise_sigma is None and task.fidelity is not poisson):
        raise SettingsError(
            f"The preset '{preset}' is for the task 'denoise' with Gaussian or photon noise; for others: plug-and-play."
        )


def _denoise(denoiser: Denoiser, task: Task) -> Tensor:
    """D(y); where pixels are held out, a few rounds of plug-and-play, which fill them in."""
    if task.weight is None:
        return denoised_observation(denoiser, task)
    return _solve(PlugAndPlay(denoiser, rounds=HELD_OUT_ROUNDS), task)


def plug_and_play(
    task: Task,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm,
    first: float | None = None,
    last: float | None = None,
    rounds: int | None = None,
) -> Recipe:
    """No fit: a denoiser and the observation in turn, as in ``plug-and-play:denoiser=NAME``.

    See :mod:`hybrid_dip.fitting.solvers.plug_and_play`. ``plug-and-play`` alone takes non-local means;
    ``plug-and-play:denoiser=bundled`` is the learned prior. For a noisy image and nothing else ``one-shot:denoiser=bundled`` is
    better and faster. As nothing is fitted, steps cannot be asked for (``rounds`` can), and regularisers have no effect.

    Args:
        task: A task with a linear operator and Gaussian noise, or none. Where the task does not give the noise level, it is
            estimated for ``deblur`` and ``flash`` and taken to be 0 for missing pixels, super-resolution and mosaics; a note
            says so. Of a JPEG file the steps of quantisation have to be known.
        denoiser: (x, sigma) -> x.
        first: Noise level of the first round, in [0, 1]; by default 50/255, for ``jpeg`` twice the error of quantisation.
        last: Noise level of the last round; by default that of the task, half of it where pixels are missing, and for ``jpeg``
            the error of quantisation that the file's coefficients let expect.
        rounds: Number of rounds; by default 8 for ``deblur``, as in DPIR, 2 for ``jpeg``, and 30 for others.

    Returns:
        The recipe.

    Raises:
        SettingsError: Noise levels or rounds out of range, another noise, or an unknown noise level.
    """
    if rounds is None:
        rounds = {"deblur": 8, "jpeg": 2}.get(task.name, 30)
    if first is None:
        box = box_of(task)
        first = 50 / 255 if box is None else max(2 * box.error, last or 0.0)
    solver, note = _with_noise_level(PlugAndPlay(denoiser, first, last, rounds), task)
    if task.name == "denoise":
        note = "For a noisy image and nothing else the preset one-shot is better and faster."
    return replace(_without_fit(PixelsFromObservation(partial(_solve, solver), task, solver.describe())), note=note)


def _with_noise_level(solver: PlugAndPlay, task: Task) -> tuple[PlugAndPlay, str]:
    """Plug-and-play with the task's noise level, and a note for the user where the task does not give one."""
    solver.check(task)
    if knows_steps(task):
        return solver, ""
    level = noise_level(task, solver.denoiser)
    if task.noise_sigma is not None or task.weight is not None:
        return solver, ""
    if task.name in EXACT and task.fidelity is gaussian:
        return solver, f"Plug-and-play takes the observation of '{task.name}' to be without noise; sigma says it if it is not."
    note = f"Plug-and-play takes the noise level to be {255 * level:.1f} (of 255), an estimate; sigma says it better."
    return replace(solver, noise=level), note


def _solve(solver: PlugAndPlay, task: Task) -> Tensor:
    return solver(interpolation(task), task)


class LatentFromObservation(FromObservation):
    """Makes the latent, which is the image."""

    def __call__(self, size: tuple[int, int]) -> Tensor:
        """The latent; it has the image's own size."""
        with torch.device("cpu"):
            return latents.image(self.image)

    def describe(self) -> dict[str, Any]:
        """The settings for a manifest."""
        return self.about


def guided(task: Task, preset: Annotated[Preset, "presets"] = fast, denoiser: Annotated[Denoiser, "denoisers"] = nlm) -> Recipe:
    """A fit whose latent is the denoised image, as in ``guided:preset=fast,denoiser=NAME``.

    The fit only has to learn what to change about it. It goes well with ``-R denoised-observation:denoiser=NAME@10 --stop
    max_steps``: then noise is a small part of what is fitted. In the original an image in place of noise leads the fit of its
    flash/no-flash task.

    Args:
        task: Denoising of Gaussian noise.
        preset: Preset of the fit.
        denoiser: (x, sigma) -> x.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or another noise.
    """
    check_denoising(task, "guided")
    about = {"name": "denoised observation", "denoiser": settings_of(denoiser)}
    return replace(preset(task), latent=LatentFromObservation(partial(_denoise, denoiser), task, about))


def refined(
    task: Task,
    preset: Annotated[Preset, "presets"] = fast,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm,
    first: float = 20 / 255,
    last: float | None = None,
    rounds: int = 5,
) -> Recipe:
    """A fit whose image a denoiser goes on from, as in ``refined:preset=fast,denoiser=NAME``.

    First the image's own prior, then a learned one: a short run of plug-and-play from a low noise level, which changes no more
    than what the fit has left open.

    Args:
        task: A task with a linear operator and Gaussian noise, or none.
        preset: Preset of the fit.
        denoiser: (x, sigma) -> x.
        first: Noise level of the first round, in [0, 1]: how wrong the fit's image is taken to be.
        last: Noise level of the last round; by default that of the task, half of it where pixels are missing.
        rounds: Number of rounds.

    Returns:
        The recipe.

    Raises:
        SettingsError: Noise levels or rounds out of range, another noise or an unknown level of it, or the preset is for other
            tasks.
    """
    refine, note = _with_noise_level(PlugAndPlay(denoiser, first, last, rounds), task)
    recipe = preset(task)
    return replace(recipe, refine=refine, note=" ".join(filter(None, (recipe.note, note))))
