"""Presets of methods that are more than a loss: DeepRED, SGLD, self-guided DIP, autoencoding sequential DIP, DIP-SURE."""

from dataclasses import replace
from typing import Annotated

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.solvers import ADMM, Averaging, SelfFed, SelfGuided
from hybrid_dip.problem.least_squares import interpolation
from hybrid_dip.recipes.original import original
from hybrid_dip.recipes.quick import quick
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.recipes.without_fit import LatentFromObservation
from hybrid_dip.regularisers.denoisers import Denoiser, nlm
from hybrid_dip.regularisers.red import RED
from hybrid_dip.regularisers.sure import Divergence
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.stopping.zero_crossing import DIVERGENCE, ZeroCrossing


def deepred(
    task: Task,
    preset: Annotated[Preset, "presets"] = original,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm,
    sigma: float | None = None,
) -> Recipe:
    """DeepRED (Mataev, Elad & Milanfar 2019): DIP and regularisation by denoising, by ADMM.

    The published recipe: learning rate 0.008, beta = mu = 0.5, x and u brought up to date at each step, the denoiser at every
    tenth; while the network fits more than the noise (20 dB between f and y at sigma 25, which is 1.04 sigma^2), beta and mu
    grow by 0.03 a step.

    Args:
        task: Any task; without a noise level beta and mu stay as they are.
        preset: Preset that gives the network; the denoiser's regulariser is added to its own.
        denoiser: (x, sigma) -> x; on the command line ``deepred:denoiser=bundled``.
        sigma: Noise level that the denoiser removes, in [0, 1]; the task's by default.

    Returns:
        The recipe.
    """
    growth = 0.03 if task.noise_sigma else 0.0
    red = Term(RED(denoiser, sigma, every=10), 1.0, "red")  # lambda = 2 beta
    solver = ADMM(mu=0.5, every=1, growth=growth, threshold=0.01 / (25 / 255) ** 2)
    return replace(preset(task), lr=0.008, solver=solver, terms=(red,))


def sgld(task: Task, preset: Annotated[Preset, "presets"] = original) -> Recipe:
    """SGLD as published (Cheng et al. 2019): Adam, noise of twice the learning rate on the filters, outputs averaged.

    20000 steps, of which 7000 do not count, then every fiftieth output. :func:`hybrid_dip.fitting.optimizers.sgld` says what
    it is not.

    Args:
        task: Any task.
        preset: Preset that gives the network.

    Returns:
        The recipe.
    """
    return replace(
        preset(task), steps=20000, lr=0.01, optimizer=optimizers.sgld, average=None, fallback=5.0, solver=Averaging(0.35, 50)
    )


def _fed_by_observation(task: Task, preset: Preset, name: str) -> Recipe:
    about = {"name": "what the observation shows"}
    recipe = preset(task)
    if task.latent is not None:
        raise SettingsError(f"The preset '{name}' makes its own latent, but this task has one.")
    return replace(recipe, latent=LatentFromObservation(interpolation, task, about), jitter=0.0)


def self_guided(
    task: Task, preset: Annotated[Preset, "presets"] = quick, weight: float = 0.1, level: float = 0.1, draws: int = 2
) -> Recipe:
    """Self-guided DIP (Liang et al. 2024): network and input are optimised together.

    See :class:`hybrid_dip.fitting.solvers.SelfGuided`. A step takes as many passes through the network as there are draws.

    Args:
        task: A task whose observation A^T brings back to the image's shape.
        preset: Preset that gives the network and the steps.
        weight: Weight of the distance between output and input.
        level: Deviation of the noise on the input.
        draws: Draws of the noise at each step.

    Returns:
        The recipe.

    Raises:
        SettingsError: The task has a latent of its own.
    """
    return replace(_fed_by_observation(task, preset, "self-guided"), solver=SelfGuided(weight, level, draws))


def aseqdip(task: Task, preset: Annotated[Preset, "presets"] = quick, weight: float = 1.0, every: int = 2) -> Recipe:
    """Autoencoding sequential DIP (Alkhouri et al. 2024): the input is the last output.

    See :class:`hybrid_dip.fitting.solvers.SelfFed`.

    Args:
        task: A task whose observation A^T brings back to the image's shape.
        preset: Preset that gives the network and the steps.
        weight: Weight of the autoencoding term.
        every: Steps between two changes of the input.

    Returns:
        The recipe.

    Raises:
        SettingsError: The task has a latent of its own.
    """
    return replace(_fed_by_observation(task, preset, "aseqdip"), solver=SelfFed(weight, every))


def dip_sure(task: Task, preset: Annotated[Preset, "presets"] = quick, zeta: float = 0.0) -> Recipe:
    """DIP-SURE (Jo, Chun & Choi 2021): the input is y, the loss a heuristic estimate of the risk.

    The fit ends where the estimate crosses zero. Its divergence is that of the network at fixed parameters, not of the fit; see
    :mod:`hybrid_dip.regularisers.sure`.

    Args:
        task: Denoising of Gaussian noise of a known level, or of Poisson noise with the task's noise left Gaussian.
        preset: Preset that gives the network and the steps.
        zeta: Gain of Poisson noise, y = zeta Poisson(x / zeta); 0 for Gaussian noise.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or unknown noise.
    """
    Divergence(zeta).bind(task)  # raises here where it does not apply
    recipe = _fed_by_observation(task, preset, "dip-sure")
    term = Term(Divergence(zeta), 1.0, DIVERGENCE)
    return replace(recipe, terms=(*recipe.terms, term), rule=ZeroCrossing(zeta))
