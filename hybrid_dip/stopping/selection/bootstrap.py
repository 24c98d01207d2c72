"""Selection by noise that is added: an unbiased estimate of the risk."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.clipping import clipped_level, unclip
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.regularisers.noise_draw import Draw, noise_like
from hybrid_dip.stopping.least import check_patience
from hybrid_dip.stopping.selection.replicates import Replicate, Score, check_refit


@dataclass(frozen=True)
class Bootstrap:
    """Coupled bootstrap, or data fission (Oliveira, Lei & Tibshirani 2022): an unbiased risk for Gaussian noise.

    With eta as large as the noise, y + tau eta and y - eta / tau are independent. The first is fitted, the second scores:

        mean (A x - y + eta / tau)^2 - sigma^2 (1 + 1 / tau^2)

    is an unbiased estimate of mean (A x - A x_true)^2 for noise of deviation sigma sqrt(1 + tau^2), whatever the algorithm
    does: no derivative of a chaotic fit is taken, as SURE would need. The noise may be uneven, and alike between neighbours:
    eta is then drawn so as well (:mod:`hybrid_dip.regularisers.noise_draw`). The estimate is as good as what is known of the
    noise.

    Where y was clipped to [0, 1], as a file of 8 bits is, what was cut off is drawn first
    (:func:`hybrid_dip.problem.clipping.unclip`). y + tau eta is clipped again before it is fitted, for it is to be as y is.

    Attributes:
        tau: Deviation of the noise that is added to what is fitted, in units of sigma; the smaller, the noisier the score.
        draws: Number of draws of eta, each with a fit of its own.
        projected: Estimate the risk of the image where A sees it, mean |A^+ A (x - x_true)|^2, rather than that of the
            measurements. This is what generalised SURE (Eldar 2009) estimates; of the rest nothing is known.
        patience: Steps without a better score after which a replicate's fit ends.
        refit: Fit y itself for the best number of steps. Without it the best image of the fit to y + tau eta is kept.
        seed: Seed of eta.
    """

    tau: float = 0.5
    draws: int = 1
    projected: bool = False
    patience: int = 500
    refit: bool = True
    seed: int = 0
    reason: ClassVar[str] = "bootstrap"

    def __post_init__(self) -> None:
        check_patience("the bootstrap", self.patience)
        if not 0 < self.tau < math.inf or self.draws < 1:
            raise SettingsError(f"The bootstrap needs tau above 0 and at least one draw, got {self.tau} and {self.draws}.")
        check_refit("draws", self.draws, self.refit)

    @property
    def fits(self) -> int:
        """Fits that it takes."""
        return self.draws + self.refit

    def replicates(self, task: Task) -> list[Replicate]:
        """Make one for each draw.

        Raises:
            SettingsError: The noise is not Gaussian of a known level.
        """
        sigma = task.noise_sigma
        if not sigma or task.fidelity is not gaussian:
            raise SettingsError(
                "The bootstrap needs the level of Gaussian noise, which this task does not have: give sigma, or choose "
                "held-out."
            )
        level = clipped_level(task)
        noise = noise_like(task)
        return [self._replicate(task, sigma, level, noise, self.seed + draw) for draw in range(self.draws)]

    def _replicate(self, task: Task, sigma: float, level: Tensor | None, noise: Draw, seed: int) -> Replicate:
        y = task.observation
        # Not torch's generator: a simulated degradation of the same seed would have drawn the very same noise.
        draw = np.random.default_rng(seed)
        eta = noise(draw)
        noisy = torch.ones_like(y) if level is None else level.isfinite().to(y)
        eta = eta * noisy
        whole = y if level is None else unclip(y, level, sigma, draw)
        noisier = whole + self.tau * eta if level is None else (whole + self.tau * eta).clamp(0, 1)
        fitted = replace(task, observation=noisier, noise_sigma=sigma * math.sqrt(1 + self.tau**2))
        other = replace(task, observation=whole - eta / self.tau, noise_sigma=sigma * math.sqrt(1 + 1 / self.tau**2))
        if task.weight is not None:
            # What was not measured stays what it is.
            known = task.weight.expand_as(y) > 0
            fitted, other = (replace(one, observation=torch.where(known, one.observation, y)) for one in (fitted, other))
        return Replicate(fitted, other, _projected_risk(other) if self.projected else _risk(other, noisy))


def _risk(other: Task, noise: Tensor) -> Score:
    """Mean over what was measured of (A x - y')^2, less the noise of y' where it has any."""
    there = noise if other.weight is None else noise * other.weight
    energy = float(other.noise_sigma or 0.0) ** 2 * float(there.double().sum() / other.measured)

    def score(x: Tensor) -> Tensor:
        return other.residual(x).square().sum() / other.measured - energy

    return score


def _projected_risk(other: Task) -> Score:
    """Mean over the image of |A^+ (A x - y')|^2; the noise of y' is a constant that is not known without the trace of A A^T."""
    least_norm = 1e-6
    zero = torch.zeros(other.shape, device=other.observation.device)
    data = nearest_explanation(zero, other, least_norm)

    def score(x: Tensor) -> Tensor:
        seen = nearest_explanation(zero, replace(other, observation=other.forward(x)), least_norm)
        return (seen - data).square().mean()

    return score
