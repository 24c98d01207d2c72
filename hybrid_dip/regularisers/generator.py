"""Energies of the network f_theta itself, which R(x) cannot express."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.terms import Weighable


def _trainable_parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _filters(network: nn.Module) -> list[Tensor]:
    """Weights of convolutions and linear layers, as matrices (out_channels, the rest)."""
    return [weight.flatten(1) for weight in _trainable_parameters(network).values() if weight.ndim > 1 and len(weight) > 1]


def _gram(weight: Tensor) -> Tensor:
    """W W^T, or W^T W where it is smaller."""
    return weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight


def _mean(parts: Iterable[Tensor], what: str) -> Tensor:
    listed = list(parts)
    if not listed:
        raise SettingsError(f"The network has no {what} that are optimised, so this regulariser could not act.")
    return torch.cat([part.flatten() for part in listed]).mean()


@dataclass(frozen=True)
class WeightDecay(Weighable):
    """Mean square of the network's parameters (Krogh & Hertz 1992).

    R(theta) = |theta|^2 / n
    """

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R, as ()."""
        return _mean((parameter.square() for parameter in _trainable_parameters(network).values()), "parameters")


@dataclass(frozen=True)
class StartDistance(Weighable):
    """Mean squared distance of the parameters to those that the fit started with: for pretrained networks.

    R(theta) = |theta - theta_0|^2 / n
    """

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R, which is 0 outside of a fit, as ()."""
        return _BoundStartDistance()(network, latent, x)

    def bind(self, task: Task) -> "_BoundStartDistance":
        """Begin a fit."""
        return _BoundStartDistance()


@dataclass(eq=False)
class _BoundStartDistance:
    """:class:`StartDistance` within one fit."""

    start: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        now = _trainable_parameters(network)
        if not self.start:
            self.start = {name: parameter.detach().clone() for name, parameter in now.items()}
        return _mean(((parameter - self.start[name]).square() for name, parameter in now.items()), "parameters")

    def state_dict(self) -> dict[str, Any]:
        return {"start": dict(self.start)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start = dict(state["start"])


@dataclass(frozen=True)
class SpectralNorm(Weighable):
    """Holds the largest gain of each layer below a bound, which slows the fit of high frequencies (Shi et al. 2022).

        R(theta) = mean over layers of max(0, |W|_2 - bound)^2

    W holds a layer's filters as a matrix (out_channels, the rest), |W|_2 is its largest singular value, computed exactly. The
    paper divides the matrix by max(1, |W|_2 / lambda), and lets batch norm subtract the mean only. This is a penalty instead,
    and leaves the network as it is. In the networks here ordinary batch norm follows every convolution but the last, and
    divides the scale of the filters out again. So the bound limits what the network can do only in the output layer.

    Attributes:
        bound: The bound, at least 0.
    """

    bound: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.bound < float("inf"):
            raise SettingsError(f"SpectralNorm needs a bound of at least 0, got {self.bound}.")

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R, as ()."""
        gains = [torch.linalg.eigvalsh(_gram(weight))[-1].clamp_min(0).sqrt() for weight in _filters(network)]
        return _mean(((gain - self.bound).clamp_min(0).square() for gain in gains), "filters")


@dataclass(frozen=True)
class Orthogonality(Weighable):
    """Filters of a layer that differ: a Gram matrix near a multiple of the identity (Brock et al. 2017, Bansal et al. 2018).

        R(theta) = mean over layers of |G / g - I|^2 / m^2,   G = W W^T (m x m), or W^T W where it is smaller, g = trace(G) / m

    Dividing by g leaves the scale of a layer free, which batch norm makes meaningless anyway.
    """

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R, as ()."""
        grams = [_gram(weight) for weight in _filters(network)]
        scaled = [gram / gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny) for gram in grams]
        return _mean(((gram - torch.eye(len(gram)).to(gram)).square().mean() for gram in scaled), "filters")


@dataclass(frozen=True)
class NoiseSensitivity(Weighable):
    """How much the output moves with the latent: the squared norm of the Jacobian, by finite differences.

        R(theta) = mean_p |f(z + delta n) - f(z)|^2 / delta^2,   n standard normal: an estimate of |df/dz|_F^2 / pixels

    The network runs once more at each step, without moving its running statistics; n is drawn anew.

    Attributes:
        delta: Standard deviation of the disturbance, above 0.
    """

    delta: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.delta < float("inf"):
            raise SettingsError(f"NoiseSensitivity needs a delta above 0, got {self.delta}.")

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        """Return R with the disturbance of the first step, as ()."""
        return _BoundSensitivity(self.delta)(network, latent, x)

    def bind(self, task: Task) -> "_BoundSensitivity":
        """Begin a fit."""
        return _BoundSensitivity(self.delta)


@dataclass(eq=False)
class _BoundSensitivity:
    """:class:`NoiseSensitivity` within one fit: the step determines n."""

    delta: float
    step: int = 0

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        generator = torch.Generator(latent.device).manual_seed(self.step)
        n = torch.randn(latent.shape, generator=generator, device=latent.device, dtype=latent.dtype)
        spare = {name: buffer.clone() for name, buffer in network.named_buffers()}
        moved: Tensor = torch.func.functional_call(network, spare, (latent + self.delta * n,))
        return ((moved - x) / self.delta).square().mean()

    def refresh(self, step: int, x: Tensor) -> None:
        self.step = step
