"""Ways to step: each function returns a factory, parameters -> ``torch.optim.Optimizer``."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError

FILTERS_MOVED = "Muon's step of the filters"
"""What a profile calls it."""

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


def _positive(lr: float) -> None:
    if not 0 < lr <= 1e6:
        raise SettingsError(f"The learning rate must be a number above 0 and at most 1e6, got {lr}.")


def _decays(*decays: float) -> None:
    if not all(0 <= decay < 1 for decay in decays):
        raise SettingsError(f"An optimiser's decays must be in [0, 1), got {', '.join(map(str, decays))}.")


def adam(lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.999)) -> OptimizerFactory:
    """Adam (Kingma & Ba 2015), the original's optimiser; all parameters are updated in one pass (torch's fused kernel).

    Args:
        lr: Learning rate, above 0.
        betas: Decay of the mean of the gradients and of their squares, in [0, 1).

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0, or a decay is out of range.
    """
    _positive(lr)
    _decays(*betas)
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)


def muon(
    lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.999), filters: float = 4.0, momentum: float = 0.95
) -> OptimizerFactory:
    """Muon (Jordan et al. 2024): the filters of a layer move by their mean gradient made orthogonal (Newton-Schulz).

    All directions of a layer move equally far, whatever their gradients: with noise-free observations a fit is sharp after
    fewer steps than by Adam, but it also comes to the noise of y sooner. Filters are the parameters with two or more axes and
    more than one output, as matrices of (out_channels, the rest); what else there is (scales and shifts, a latent) takes
    Adam's steps.

    Args:
        lr: Learning rate of what takes Adam's steps, above 0.
        betas: Decays of Adam, in [0, 1).
        filters: Learning rate of the filters, as a multiple of ``lr``.
        momentum: Decay of the mean gradient of the filters, in [0, 1).

    Returns:
        A factory.

    Raises:
        SettingsError: A rate that is not above 0, or a decay out of range.
    """
    _positive(lr)
    _positive(filters * lr)
    _decays(*betas, momentum)

    def make(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in parameters:
            (matrices if parameter.ndim > 1 and len(parameter) > 1 else others).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": others, "lr": lr, "momentum": None},  # first, for its rate is the one that is logged
            {"params": matrices, "lr": filters * lr, "momentum": momentum},
        ]
        return _Muon([group for group in groups if group["params"]], lr=lr, betas=betas, fused=True)

    return make


class _Muon(torch.optim.Adam):
    """Adam, but in groups with a ``momentum``, which move by their mean gradients made orthogonal.

    Filters of one shape are made orthogonal at once and in single precision: one by one, or in half precision, which many
    processors do not have, it would take much longer.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = closure() if closure is not None else None
        with torch.no_grad(), torch.profiler.record_function(FILTERS_MOVED):
            for group in self.param_groups:
                if group["momentum"] is not None:
                    self._move(group)
        super().step()
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
        for (rows, columns), parameters in alike.items():
            ahead = torch.stack([self._ahead(parameter, group["momentum"]).flatten(1) for parameter in parameters])
            length = group["lr"] * max(1.0, rows / columns) ** 0.5
            for parameter, direction in zip(parameters, orthogonal(ahead), strict=True):
                parameter.add_(direction.view_as(parameter), alpha=-length)

    def _ahead(self, parameter: Tensor, momentum: float) -> Tensor:
        """The mean gradient as it will be after one more like this one (Nesterov); Adam passes over who has none left."""
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(gradient)
        mean: Tensor = state["mean"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.optim.Optimizer.__setstate__(self, state)  # Adam's own would look for a count of steps in each state


def orthogonal(matrices: Tensor) -> Tensor:
    """Roughly U V^T of each M = U S V^T: Newton and Schulz's iteration with the coefficients of Jordan et al. (2024).

    Args:
        matrices: (N, rows, columns).

    Returns:
        (N, rows, columns), of singular values between 0.7 and 1.2 where those of M are not far below the largest.
    """
    if matrices.shape[1] > matrices.shape[2]:
        wide: Tensor = orthogonal(matrices.mT)
        return wide.mT
    x: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(matrices.dtype).tiny)
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


def lbfgs(lr: float = 1.0, inner_steps: int = 4, history: int = 20) -> OptimizerFactory:
    """L-BFGS with a strong Wolfe line search; one step of the loop is up to ``inner_steps`` of its iterations.

    The jitter is drawn once a step of the loop, so that a line search sees one function.

    Args:
        lr: Length of the first trial step, above 0.
        inner_steps: Iterations a step of the loop.
        history: Curvature pairs remembered.

    Returns:
        A factory.

    Raises:
        SettingsError: The learning rate is not above 0.
    """
    _positive(lr)
    return lambda parameters: torch.optim.LBFGS(
        parameters, lr=lr, max_iter=inner_steps, history_size=history, line_search_fn="strong_wolfe"
    )


class _Langevin(torch.optim.Optimizer):
    """theta <- theta - h (scale g + precision theta) + sqrt(2 h) xi."""

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
                        parameter.add_(math.sqrt(2 * h) * torch.randn_like(parameter) - h * drift)
        return loss


def langevin(lr: float, scale: float, precision: float = 0.0) -> OptimizerFactory:
    """The step of the unadjusted Langevin algorithm, for :class:`hybrid_dip.fitting.solvers.Langevin`.

    Args:
        lr: h, above 0.
        scale: What the loss is multiplied by to be minus the logarithm of a density.
        precision: Of a Gaussian prior on the parameters.

    Returns:
        A factory.

    Raises:
        SettingsError: The rate is not above 0.
    """
    _positive(lr)
    return lambda parameters: _Langevin(parameters, lr, scale, precision)


class _NoisyAdam(torch.optim.Adam):
    """Adam, and after each step noise on the filters of convolutions."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float, noise: float):
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)
        self.noise = noise

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.ndim == 4:
                        parameter.add_(torch.randn_like(parameter), alpha=self.noise * group["lr"])
        return loss


def sgld(lr: float = 0.01, noise: float = 2.0, weight_decay: float = 5e-8) -> OptimizerFactory:
    """What Cheng et al. ("A Bayesian Perspective on the Deep Image Prior", CVPR 2019) published as SGLD.

    Adam with weight decay, and noise of ``noise`` times the learning rate on the filters of convolutions at each step. With
    Adam's steps in place of gradients, and noise of that size, it is no sampler of the posterior; :func:`langevin` is.

    Args:
        lr: Learning rate, above 0.
        noise: Deviation of the noise, in units of the learning rate, at least 0.
        weight_decay: At least 0.

    Returns:
        A factory.

    Raises:
        SettingsError: Out of range.
    """
    _positive(lr)
    if not 0 <= noise < math.inf or not 0 <= weight_decay < math.inf:
        raise SettingsError(f"SGLD needs a noise and a weight decay of at least 0, got {noise} and {weight_decay}.")
    return lambda parameters: _NoisyAdam(parameters, lr, weight_decay, noise)


BY_NAME: dict[str, Callable[[float], OptimizerFactory]] = {"adam": adam, "muon": muon, "lbfgs": lbfgs}
"""What the command line and study files offer."""
