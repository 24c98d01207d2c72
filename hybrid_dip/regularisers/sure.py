"""The divergence that makes a squared residual an estimate of the risk (SURE, PURE), by Monte Carlo: a heuristic in a fit.

It is the divergence of f_theta with respect to its input, at fixed theta, with the noisy image as input, as in DIP-SURE (Jo,
Chun & Choi, "Rethinking Deep Image Prior for Denoising", ICCV 2021). But theta itself is fitted to y, which this derivative
does not see, so the estimate of the fit's risk is biased. A finite difference through the whole fit would not help, for fits
are chaotic. The coupled bootstrap, :class:`hybrid_dip.stopping.selection.Bootstrap`, is unbiased for any algorithm.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task, check_white
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.clipping import clipped_level, cut_off
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.regularisers.terms import Weighable


@dataclass(frozen=True)
class Divergence(Weighable):
    """What SURE adds to the squared residual, for a network whose input is the noisy image.

        Gaussian noise (Stein 1981; Ramani, Blu & Unser 2008):   R = 2 sigma^2 / n  b^T (f(y + e b) - f(y)) / e
        Poisson noise (Le Montagner, Angelini & Olivo-Marin 2014):  R = 2 zeta / n  (b y)^T (f(y + e b) - f(y)) / e

    b is +1 or -1 in each entry, drawn anew at each step. With weight 1 and the fidelity mean |f - y|^2, their sum less the
    energy of the noise (sigma^2, or zeta mean y) is SURE, or PURE. The network runs once more at each step.

    Where Gaussian noise was clipped to [0, 1], Stein's identity holds before the clipping only: b is 0 where y is 0 or 1, and
    R has 2 / n c^T (f(y) - x) besides, c and x being what :mod:`hybrid_dip.problem.clipping` expects of the part that was cut
    off and of the truth. The energy is then :func:`hybrid_dip.problem.clipping.noise_energy`.

    Attributes:
        zeta: Gain of Poisson noise, y = zeta Poisson(x / zeta), above 0; 0 for Gaussian noise, whose level is the task's.
        epsilon: e, in units of the noise's standard deviation.
    """

    zeta: float = 0.0
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.zeta < float("inf") or not 0 < self.epsilon < float("inf"):
            raise SettingsError(f"Divergence needs zeta >= 0 and epsilon > 0, got {self.zeta} and {self.epsilon}.")

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Refuse: the noise is known within a fit only."""
        raise SettingsError("Divergence needs the noise of a task: it can be evaluated within a fit only.")

    def bind(self, task: Task) -> "BoundDivergence":
        """Begin a fit.

        Raises:
            SettingsError: The task is not denoising with a squared residual, or its noise level is unknown.
        """
        if task.name != "denoise" or task.fidelity is not gaussian or task.weight is not None:
            raise SettingsError("Divergence is for denoising by a squared residual; for other tasks take held-out.")
        if not self.zeta and not task.noise_sigma:
            raise SettingsError("Divergence needs the level of Gaussian noise, or zeta for Poisson noise.")
        check_white(task, "Divergence")
        y, sigma = task.observation, float(task.noise_sigma or 0.0)
        weights = self.zeta * y if self.zeta else torch.full_like(y, sigma**2)
        length = self.epsilon * float(weights.clamp_min(0).mean().sqrt())
        level = None if self.zeta else clipped_level(task)
        if level is None:
            return BoundDivergence(weights, length)
        within = ((y > 0) & (y < 1)).to(y)
        return BoundDivergence(
            weights * within, length, Clipped(within, cut_off(y, level, sigma), torch.where(level.isnan(), y, level))
        )


@dataclass(frozen=True, eq=False)
class Clipped:
    """What is known of entries that were clipped.

    Attributes:
        within: 1 where y was not clipped, 0 where it was.
        cut: c, what clipping is expected to have added.
        level: Estimate of the truth.
    """

    within: Tensor
    cut: Tensor
    level: Tensor


@dataclass(eq=False)
class BoundDivergence:
    """:class:`Divergence` within one fit; b depends on the step only.

    Attributes:
        weights: sigma^2, or zeta y.
        length: e, in units of the image.
        clipped: What is known of clipped entries; None where there are none.
        step: Index of the step.
    """

    weights: Tensor
    length: float
    clipped: Clipped | None = None
    step: int = 0

    def refresh(self, step: int, x: Tensor) -> None:
        """Note the index of the step."""
        self.step = step

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R, as ()."""
        if tuple(latent.shape) != tuple(x.shape):
            raise SettingsError("Divergence needs a network whose input is the noisy image: take the preset dip-sure.")
        generator = torch.Generator().manual_seed(self.step)
        b = (2.0 * torch.randint(0, 2, x.shape, generator=generator) - 1).to(x)
        spare = {name: buffer.clone() for name, buffer in network.named_buffers()}  # running statistics stay
        if self.clipped is not None:
            b = b * self.clipped.within
        moved: Tensor = torch.func.functional_call(network, spare, (latent + self.length * b,))
        divergence = 2 * (self.weights * b * (moved - x)).mean() / self.length
        return divergence if self.clipped is None else divergence + 2 * (self.clipped.cut * (x - self.clipped.level)).mean()

    def state_dict(self) -> dict[str, Any]:
        """The step."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step = state["step"]
