"""Extended SURE as the loss of a fit (Jo, Chun & Choi, "Rethinking Deep Image Prior for Denoising", ICCV 2021)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Task, check_white
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import copy_of_global
from hybrid_dip.problem.operators import shows_image
from hybrid_dip.regularisers.terms import SomeTerms, Term, as_terms
from hybrid_dip.stopping.zero_crossing import DIVERGENCE


class Perturbed(nn.Module):
    """A network whose input gets noise of a random level anew at each pass, and that knows its divergence there.

    Args:
        network: f.
        most: The level is uniform on [0, most].
        sigma: Standard deviation of the noise of y.
        generator: Generator of all noise here.
    """

    def __init__(self, network: nn.Module, most: float, sigma: float, generator: torch.Generator):
        super().__init__()
        self.network, self.most, self.sigma, self.generator = network, most, sigma, generator
        self.z = torch.zeros(())

    def forward(self, latent: Tensor) -> Tensor:
        """Return f(z), z being the latent with noise."""
        level = self.most * torch.rand((), dtype=latent.dtype, device=latent.device, generator=self.generator)
        noise = torch.empty_like(latent).normal_(generator=self.generator)
        self.z = (latent.detach() + level * noise).requires_grad_()
        x: Tensor = self.network(self.z)
        return x

    def divergence(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """2 sigma^2 / n  b^T (df/dz)^T b at the last pass, b Gaussian, as ()."""
        b = torch.empty_like(x).normal_(generator=self.generator)
        (pulled,) = torch.autograd.grad((b * x).sum(), self.z, create_graph=True)
        return 2 * self.sigma**2 * (b * pulled).mean()


@dataclass(frozen=True)
class ExtendedSURE:
    """Fits f to mean |f(z) - y|^2 + 2 sigma^2 / n div f(z), z being y with more noise at each step.

    Less sigma^2 this is SURE where z is y (Stein 1981). Its divergence, by Monte Carlo and two derivatives (Ramani, Blu & Unser
    2008), is that of the network at fixed parameters: see :mod:`hybrid_dip.regularisers.sure`.

    Attributes:
        level: Most noise that is added, in units of sigma; its level is uniform between 0 and this.
    """

    level: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.level < float("inf"):
            raise SettingsError(f"Extended SURE needs a level of at least 0, got {self.level}.")

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are; the noise on z is its jitter."""
        if not task.noise_sigma or not shows_image(task):
            raise SettingsError("Extended SURE is for an image with Gaussian noise of a known level; give its sigma.")
        check_white(task, "Extended SURE")
        if latent.shape != task.shape:
            raise SettingsError("Extended SURE needs a network whose input is the noisy image: take the preset dip-sure.")
        generator = options.get("generator") or copy_of_global(latent.device)
        perturbed = Perturbed(network, self.level * task.noise_sigma, task.noise_sigma, generator)
        divergence = Term(perturbed.divergence, 1.0, DIVERGENCE)
        fixed = {"jitter": 0.0, "generator": generator}
        return fit(perturbed, latent, task, [*as_terms(terms), divergence], **{**options, **fixed})
