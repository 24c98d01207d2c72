"""The network's input is an image that follows its output: self-guided DIP and autoencoding sequential DIP.

Both begin with z = A^T y and add mean |f - z|^2 to the objective, which makes the network a denoiser of its input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import copy_of_global
from hybrid_dip.regularisers.terms import SomeTerms, Term, as_terms


class MeanOverNoise(nn.Module):
    """(1 / m) sum_i f(z + eta_i): a network averaged over noise on its input.

    Args:
        network: f.
        level: Deviation of eta.
        draws: m.
        generator: Generator of eta.
    """

    def __init__(self, network: nn.Module, level: float, draws: int, generator: torch.Generator | None = None):
        super().__init__()
        self.network, self.level, self.draws, self.generator = network, level, draws, generator

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W)."""
        noises = [torch.empty_like(z).normal_(generator=self.generator) for _ in range(self.draws)]
        return torch.stack([self.network(z + self.level * eta) for eta in noises]).mean(0)


def distance_to_input(network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
    """Mean |f(z) - z|^2, as ().

    Args:
        network: f; not used.
        latent: z, of the shape of an image.
        x: f(z).

    Returns:
        A scalar.
    """
    return (x - latent).square().mean()


def _check(name: str, latent: Tensor, task: Task, weight: float) -> None:
    if tuple(latent.shape) != tuple(task.shape):
        raise SettingsError(
            f"{name} compares the network's input with its output: the latent must be an image of shape {tuple(task.shape)}, "
            f"got {tuple(latent.shape)}; take the preset's own."
        )
    if not 0 <= weight < float("inf"):
        raise SettingsError(f"The weight of {name} must be a finite number of at least 0, got {weight}.")


@dataclass(frozen=True)
class SelfGuided:
    """Self-guided DIP (Liang et al. 2024): network and input are optimised together, the output averaged over noise on z.

        min over theta, z of  E(A E_eta f_theta(z + eta); y) + weight mean |E_eta f_theta(z + eta) - z|^2

    The expectation is a mean of a few draws, which are new at each step.

    Attributes:
        weight: Weight of the second term, at least 0.
        level: Deviation of eta.
        draws: Number of draws of eta at each step.
    """

    weight: float = 0.1
    level: float = 0.1
    draws: int = 2

    def __post_init__(self) -> None:
        if self.draws < 1 or not 0 <= self.level < float("inf"):
            raise SettingsError(
                f"Self-guidance needs a level of at least 0 and at least one draw, got {self.level} and {self.draws}."
            )

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are; its jitter is this one's level."""
        _check("Self-guided DIP", latent, task, self.weight)
        guidance = Term(distance_to_input, self.weight, "self-guidance")
        generator = options.get("generator") or copy_of_global(latent.device)
        averaged = MeanOverNoise(network, self.level, self.draws, generator)
        fixed = {"optimise": "both", "jitter": 0.0, "generator": generator}
        return fit(averaged, latent, task, [*as_terms(terms), guidance], **{**options, **fixed})


class Feeding(nn.Module):
    """A network that is fed with its own output now and then.

    Args:
        network: f.
        first: z at the beginning.
        every: Evaluations between two changes of z.
    """

    z: Tensor
    output: Tensor
    passes: Tensor

    def __init__(self, network: nn.Module, first: Tensor, every: int):
        super().__init__()
        self.network, self.every = network, every
        self.register_buffer("z", first.clone())
        self.register_buffer("output", first.clone())
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, latent: Tensor) -> Tensor:
        """Return f(z); the latent is where z began."""
        due = (self.passes > 0) & (self.passes % self.every == 0)
        self.z = torch.where(due, self.output, self.z)
        x: Tensor = self.network(self.z)
        self.output = x.detach()
        self.passes = self.passes + 1
        return x

    def distance_to_own_input(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Mean |f(z) - z|^2 with the z that was last fed."""
        return (x - self.z).square().mean()


@dataclass(frozen=True)
class SelfFed:
    """Autoencoding sequential DIP, aSeqDIP (Alkhouri et al. 2024): the input is the last output.

        repeat:  some steps on  E(A f_theta(z); y) + weight mean |f_theta(z) - z|^2,   then  z <- f_theta(z)

    Attributes:
        weight: Weight of the autoencoding term; 1 in the paper.
        every: Steps between two changes of z; 2 in the paper.
    """

    weight: float = 1.0
    every: int = 2

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SettingsError(f"Autoencoding sequential DIP needs every of at least 1 step, got {self.every}.")

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are; without jitter."""
        _check("Autoencoding sequential DIP", latent, task, self.weight)
        feeding = Feeding(network, latent, self.every)
        penalty: Callable[..., Tensor] = feeding.distance_to_own_input
        term = Term(penalty, self.weight, "autoencoding")
        return fit(feeding, latent, task, [*as_terms(terms), term], **{**options, "optimise": "network", "jitter": 0.0})
