"""Steps that add noise to the parameters."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.optimizers.factory import OptimizerFactory, check_rates


def _noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.empty_like(x).normal_(generator=generator)


class _Langevin(torch.optim.Optimizer):
    """theta <- theta - h (scale g + precision theta) + sqrt(2 h) xi."""

    generator: torch.Generator | None = None

    def __init__(self, parameters: Iterable[Tensor], lr: float, scale: float, precision: float):
        super().__init__(parameters, {"lr": lr, "scale": scale, "precision": precision})

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                h = group["lr"]
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        drift = group["scale"] * parameter.grad + group["precision"] * parameter
                        parameter.add_(math.sqrt(2 * h) * _noise_like(parameter, self.generator) - h * drift)
        return loss


def langevin(lr: float, scale: float, precision: float = 0.0) -> OptimizerFactory:
    """The step of the unadjusted Langevin algorithm, for :class:`hybrid_dip.fitting.solvers.Langevin`.

    Args:
        lr: h, above 0.
        scale: Factor by which the loss becomes minus the logarithm of a density.
        precision: Precision of a Gaussian prior on the parameters.

    Returns:
        A factory.

    Raises:
        SettingsError: The rate is not above 0.
    """
    check_rates(lr)
    return lambda parameters: _Langevin(parameters, lr, scale, precision)


class _NoisyAdam(torch.optim.Adam):
    """Adam, and after each step noise on the filters of convolutions."""

    generator: torch.Generator | None = None

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float, noise: float):
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)
        self.noise = noise

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.ndim == 4:
                        parameter.add_(_noise_like(parameter, self.generator), alpha=self.noise * group["lr"])
        return loss


def sgld(lr: float = 0.01, noise: float = 2.0, weight_decay: float = 5e-8) -> OptimizerFactory:
    """What Cheng et al. ("A Bayesian Perspective on the Deep Image Prior", CVPR 2019) published as SGLD.

    Adam with weight decay, and at each step noise of ``noise`` times the learning rate on the filters of convolutions. Because
    of Adam's steps in place of gradients, and noise of that size, it does not sample the posterior; :func:`langevin` does.

    Args:
        lr: Learning rate, above 0.
        noise: Deviation of the noise, in units of the learning rate, at least 0.
        weight_decay: Factor of the weight decay, at least 0.

    Returns:
        A factory.

    Raises:
        SettingsError: An option is out of range.
    """
    check_rates(lr)
    if not 0 <= noise < math.inf or not 0 <= weight_decay < math.inf:
        raise SettingsError(f"SGLD needs a noise and a weight decay of at least 0, got {noise} and {weight_decay}.")
    return lambda parameters: _NoisyAdam(parameters, lr, weight_decay, noise)
