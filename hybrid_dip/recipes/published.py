"""Presets of methods that are more than a loss: DeepRED, SGLD, self-guided DIP, autoencoding sequential DIP, DIP-SURE."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.solvers import Averaging, DeepRED, ExtendedSURE, SelfFed, SelfGuided
from hybrid_dip.fitting.solvers.deepred import Growth
from hybrid_dip.networks import s2s
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import interpolation
from hybrid_dip.recipes.original import NOISE, draw_downsampler, original
from hybrid_dip.recipes.quick import quick
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.recipes.without_fit import LatentFromObservation
from hybrid_dip.regularisers.denoisers import Denoiser, bm3d, nlm_channels
from hybrid_dip.regularisers.schedules import Steps
from hybrid_dip.regularisers.sure import Divergence
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.stopping.zero_crossing import DIVERGENCE, ZeroCrossing

_DEEPRED_STEPS = Steps(tuple(0.9**i for i in range(30)), tuple(range(1000, 30000, 1000)))
_DEEPRED: Mapping[str, tuple[DeepRED, Mapping[str, Any]]] = {
    "denoise": (DeepRED(growth=Growth()), {"steps": 6000, "lr": 0.008, "jitter": 0.033, "average": 0.99}),
    "super-resolve": (
        DeepRED(sigma=5 / 255, beta=0.05, mu=0.06, by_dual=True),
        {"steps": 2000, "lr": 0.001, "jitter": 0.02, "average": None, "spare_draws": draw_downsampler},
    ),
    "deblur": (
        DeepRED(beta=0.02, mu=0.04, by_dual=True),
        {"steps": 30000, "lr": 0.004, "jitter": 0.01, "average": None, "lr_schedule": _DEEPRED_STEPS},
    ),
}
"""The settings in the authors' three notebooks."""


def deepred(
    task: Task,
    preset: Annotated[Preset, "presets"] = original,
    denoiser: Annotated[Denoiser, "denoisers"] = nlm_channels,
    sigma: float | None = None,
) -> Recipe:
    """DeepRED (Mataev, Milanfar & Elad 2019) as published: DIP and regularisation by denoising, by ADMM.

    The steps are those of :class:`hybrid_dip.fitting.solvers.DeepRED`, the settings those of the authors' code for denoising,
    super-resolution and deblurring; every other task takes those of denoising without its growth, and says so. The threshold
    of the growth, 20 dB between f and y, was chosen for sigma 25: at another level it moves with the noise.

    Args:
        task: Any task.
        preset: Preset that gives the network and its latent; the authors' are those of ``original``.
        denoiser: (x, sigma) -> x; on the command line ``deepred:denoiser=bundled``. For super-resolution theirs is BM3D.
        sigma: Noise level that the denoiser removes, in [0, 1]; by default the published one, 3/255 or for super-resolution
            5/255.

    Returns:
        The recipe.
    """
    solver, settings = _DEEPRED.get(task.name, _DEEPRED["denoise"])
    notes = []
    if task.name not in _DEEPRED or task.fidelity is not gaussian:
        what = f"'{task.name}'" if task.name not in _DEEPRED else "this noise"
        notes.append(f"DeepRED's authors have no recipe for {what}; this is theirs for denoising.")
    if task.name == "super-resolve" and denoiser is not bm3d:
        notes.append("DeepRED's authors take BM3D for super-resolution: deepred:denoiser=bm3d.")
    growth = None
    if task.name == "denoise" and task.noise_sigma:
        growth = Growth(threshold=20 - 20 * math.log10(task.noise_sigma / (25 / 255)))
    return replace(
        preset(task),
        **settings,
        solver=replace(solver, denoiser=denoiser, sigma=sigma or solver.sigma, growth=growth),
        fallback=None,
        log_every=None,
        latent_first=False,
        note=" ".join(notes),
    )


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


def dip_sure(task: Task, zeta: float = 0.0) -> Recipe:
    """DIP-SURE (Jo, Chun & Choi 2021) as in the authors' runs: extended SURE, their network, RAdam, the average of the outputs.

    The input is y with more noise at each step (:class:`hybrid_dip.fitting.solvers.ExtendedSURE`), the network
    :func:`hybrid_dip.networks.s2s`; the fit ends where the estimate of the risk crosses zero. Poisson noise takes PURE, without
    more noise. Not theirs: a fit that falls by 5 dB is noticed at logged steps only, the average does not begin again by a look
    at the clean image, and PURE's finite difference has a fixed length.

    Args:
        task: Denoising of Gaussian noise of a known level, or of Poisson noise with the task's noise left Gaussian.
        zeta: Gain of Poisson noise, y = zeta Poisson(x / zeta); 0 for Gaussian noise.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task, or unknown noise.
    """
    divergence = Divergence(zeta)
    divergence.bind(task)  # raises here where it does not apply
    recipe = Recipe(s2s, NOISE, steps=3000, lr=0.1, optimizer=optimizers.radam, fallback=5.0, rule=ZeroCrossing(zeta))
    recipe = _fed_by_observation(task, lambda _: recipe, "dip-sure")
    if zeta:
        by_step = Steps((1, 0.5, 0.25), (2000, 3000))
        return replace(recipe, average=0.9, lr_schedule=by_step, terms=(Term(divergence, 1.0, DIVERGENCE),))
    by_step = Steps(tuple(0.9**i for i in range(10)), tuple(range(300, 3000, 300)))
    level = 0.3 if task.shape[1] == 1 else 0.5
    return replace(recipe, average=0.99, lr_schedule=by_step, solver=ExtendedSURE(level))


def dip_sure_plain(task: Task, preset: Annotated[Preset, "presets"] = quick, zeta: float = 0.0) -> Recipe:
    """A variant of DIP-SURE that none of its authors' results are from: plain SURE, the network and optimiser of any preset.

    The input is y, the divergence a finite difference. It is far quicker than ``dip-sure``. The fit ends where the estimate
    crosses zero. Its divergence is that of the network at fixed parameters, not of the fit; see
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
    term = Term(Divergence(zeta), 1.0, DIVERGENCE)
    term.bind(task)  # raises here where it does not apply
    recipe = _fed_by_observation(task, preset, "dip-sure-plain")
    return replace(recipe, terms=(*recipe.terms, term), rule=ZeroCrossing(zeta))
