"""DeepRED as its authors' code runs it (Mataev, Milanfar & Elad, "DeepRED: Deep Image Prior Powered by RED", ICCV-W 2019)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.problem.least_squares import interpolation
from hybrid_dip.regularisers.denoisers import Denoiser, nlm_channels
from hybrid_dip.regularisers.terms import SomeTerms, Term, as_terms


@dataclass(frozen=True)
class Growth:
    """Stronger regularisation while the network's output is near y: the authors' way to denoise.

    Attributes:
        by: What is added to beta and mu after each step at which the PSNR between f and y is above the threshold.
        threshold: The threshold at first, in dB.
        rise: What is then added to the threshold, in dB.
    """

    by: float = 0.03
    threshold: float = 20.0
    rise: float = 0.01


@dataclass(frozen=True)
class DeepRED:
    """DIP and regularisation by denoising, split by ADMM. A step is

        theta   one step of the optimiser on  E(A f; y) + mu mean |f - (x - u)|^2
        x       = (beta d + mu (f + u)) / (beta + mu), clipped to [0, 1]
        u       += f - x

    The denoiser runs beside: at regular steps d becomes D of the x of one such interval before. x and d begin at y,
    its holes filled from around them, or at 0 where y is no image of this size, as in super-resolution; u begins at 0.

    Attributes:
        denoiser: D, (x, sigma) -> x.
        sigma: Noise level that D removes, in [0, 1].
        beta: Weight of the denoiser's prior, lambda in the paper, above 0.
        mu: Strength of the splitting, above 0.
        every: Steps between two applications of D.
        growth: How beta and mu grow, where y is a noisy image; None for not at all.
        by_dual: The result is x - u in place of the network's output, as in the authors' code for super-resolution and
            deblurring, if all steps are taken.
    """

    denoiser: Denoiser = nlm_channels
    sigma: float = 3 / 255
    beta: float = 0.5
    mu: float = 0.5
    every: int = 10
    growth: Growth | None = None
    by_dual: bool = False

    def __post_init__(self) -> None:
        if self.every < 1 or not all(0 < number < float("inf") for number in (self.beta, self.mu, self.sigma)):
            raise SettingsError(
                f"DeepRED needs a sigma, a beta and a mu above 0 and every of at least 1, got sigma={self.sigma}, "
                f"beta={self.beta}, mu={self.mu} and every={self.every}."
            )

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are; further terms act on the network's output."""
        companion = Companion(self, task)
        found = fit(network, latent, task, [*as_terms(terms), Term(companion, 1.0, "deepred")], **options)
        if not self.by_dual or found.kept_at != found.steps - 1:
            return found
        companion.settle()
        image = companion.x - companion.u
        return replace(found, image=image, last=image)


class Companion:
    """x, u, and what the denoiser makes of x, along one fit: the term mu mean |f - (x - u)|^2.

    Args:
        settings: The solver.
        task: The task that is fitted.

    Raises:
        SettingsError: The strengths are to grow, but y is no image of the size that is restored.
    """

    def __init__(self, settings: DeepRED, task: Task):
        self.settings, self.y = settings, task.observation
        whole = task.weight is None and self.y.shape == task.shape
        if settings.growth is not None and not whole:
            raise SettingsError("DeepRED's growth compares the image with y, which must be a whole image; leave it out here.")
        self.x = self.y if whole else _beginning(task)
        self.denoised = self.asked = self.x
        self.u = torch.zeros_like(self.x)
        self.mu, self.beta = (torch.full((), strength, device=self.y.device) for strength in (settings.mu, settings.beta))
        self.threshold = torch.full((), 0.0 if settings.growth is None else settings.growth.threshold, device=self.y.device)
        self.f: Tensor | None = None
        self.updates = 0

    def refresh(self, step: int, f: Tensor) -> None:
        """Bring x and u up to date with the step before, and remember this one's output."""
        self.settle()
        self.f = f

    def settle(self) -> None:
        """Bring x and u up to date with the last output."""
        if self.f is None:
            return
        f, self.f = self.f, None
        self.updates += 1
        if self.updates % self.settings.every == 0:
            with torch.no_grad():
                self.denoised = self.settings.denoiser(self.asked, self.settings.sigma).detach()
            self.asked = self.x
        self.x = ((self.beta * self.denoised + self.mu * (f + self.u)) / (self.beta + self.mu)).clamp(0, 1)
        self.u = self.u + f - self.x
        growth = self.settings.growth
        if growth is not None:
            near = (-10 * torch.log10((f - self.y).square().mean()) > self.threshold).to(self.mu)
            self.mu, self.beta = self.mu + growth.by * near, self.beta + growth.by * near
            self.threshold = self.threshold + growth.rise * near

    def __call__(self, f: Tensor) -> Tensor:
        """Return the quadratic, as ()."""
        return self.mu * (f - (self.x - self.u)).square().mean()

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name in _STATE:
            setattr(self, name, state[name])


def _beginning(task: Task) -> Tensor:
    """What y shows of the image; 0 where that would need more than filling holes."""
    y = task.observation
    return interpolation(task.to("cpu")).to(y) if y.shape == task.shape else torch.zeros(task.shape, device=y.device)


_STATE = ("x", "u", "denoised", "asked", "mu", "beta", "threshold", "f", "updates")
