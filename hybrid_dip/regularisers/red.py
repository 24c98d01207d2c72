"""Priors made of a denoiser: small for images that it leaves as they are (RED), or that are near the denoised observation."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.fidelity import poisson
from hybrid_dip.problem.operators import shows_image
from hybrid_dip.regularisers.denoisers import Denoiser, nlm
from hybrid_dip.regularisers.levels import check_sigma, level_at
from hybrid_dip.regularisers.memory import Memory, WithMemory, check_every
from hybrid_dip.regularisers.observed import denoised_observation
from hybrid_dip.regularisers.reference import GuidePixels
from hybrid_dip.regularisers.terms import Schedule, Weighable


@dataclass(frozen=True)
class RED(WithMemory):
    """Regularisation by denoising (Romano, Elad & Milanfar 2017), around any denoiser D.

        R(x) = mean_p x(p) [x - D(x)](p),   grad R(x) = (x - D(x)) / n with x - D(x) held constant

    Only the gradient means something: for most denoisers no energy has it (Reehorst & Schniter 2019), so the value is no loss
    curve. D is applied to the current estimate every few steps; in between D(x) stays and x moves.

    Attributes:
        denoiser: (x, sigma) -> x; on the command line a name of ``hybrid-dip list denoisers``, ``file.py:name`` or
            ``module:name``.
        sigma: Noise level that D removes, in [0, 1], a number or a schedule such as ``linear=0.1..0.02``; "residual" for that
            of the current residual (where the noise is unknown); None for that of the task (at least 2/255; 10/255 where the
            task has none).
        over: Steps that a schedule of sigma takes.
        every: Steps between two applications of D.
    """

    denoiser: Annotated[Denoiser, "denoisers"] = nlm
    sigma: float | Schedule | str | None = None
    over: int = 1000
    every: int = 10

    def __post_init__(self) -> None:
        check_every("RED", self.every)
        check_every("RED's schedule", self.over)
        check_sigma("RED", self.sigma)

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """D(x)."""
        with torch.no_grad():
            denoised = self.denoiser(x, level_at(self.sigma, self.over, x, step, task))
        if denoised.shape != x.shape:
            raise SettingsError(f"The denoiser of RED gave the shape {tuple(denoised.shape)} for {tuple(x.shape)}.")
        return {"denoised": denoised.detach()}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """<x, x - D(x)> / n, the second factor constant."""
        return (x * (x.detach() - memory["denoised"])).mean()

    def nearest(self, v: Tensor, gamma: float, memory: Memory) -> Tensor:
        """The prox where D(x) stays, x = (v + g D(x)) / (1 + g) with g = gamma / n: one step of RED's fixed point."""
        pull = gamma / v.numel()
        return (v + pull * memory["denoised"]) / (1 + pull)


@dataclass(frozen=True)
class DenoisedObservation(Weighable):
    """Mean squared distance to the noisy observation as a denoiser D restores it, which it does once.

    The pull of DeepRED (Mataev, Milanfar & Elad 2019), but D is applied to y and not to the estimate.

        R(x) = mean_p |x(p) - D(y)(p)|^2

    With Gaussian noise and the weight w the loss is, up to a constant, that of a fit to (y + w D(y)) / (1 + w), in which the
    noise of y is divided by 1 + w: the network fits less noise, and detail that D has smoothed away comes back from y.

    Attributes:
        denoiser: (x, sigma) -> x, as for RED.
        sigma: Noise level that D removes, in [0, 1]; None for the task's.
    """

    denoiser: Annotated[Denoiser, "denoisers"] = nlm
    sigma: float | None = None

    def __post_init__(self) -> None:
        check_sigma("DenoisedObservation", self.sigma)

    def __call__(self, x: Tensor) -> Tensor:
        """Refuse: outside of a fit there is no observation."""
        raise SettingsError("DenoisedObservation can be compared with the observation within a fit only.")

    def bind(self, task: Task) -> GuidePixels:
        """Begin a fit: denoise y.

        Raises:
            SettingsError: y is not a whole image of noisy pixels, or its noise level is unknown.
        """
        if not shows_image(task):
            raise SettingsError(f"DenoisedObservation is for noisy images, not for '{task.name}'; take RED there.")
        if self.sigma is None and task.noise_sigma is None and task.fidelity is not poisson:
            raise SettingsError(f"DenoisedObservation needs the noise level of '{task.name}': give sigma, on the scale 0..1.")
        with torch.no_grad():
            if self.sigma is None:
                return GuidePixels(denoised_observation(self.denoiser, task).detach())
            return GuidePixels(self.denoiser(task.observation, max(self.sigma, LEAST_SIGMA)).detach())
