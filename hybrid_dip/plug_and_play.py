"""Plug-and-play restoration: a denoiser and the observation in turn, no network fitted (Venkatakrishnan et al. 2013).

Half-quadratic splitting with falling noise levels, as in DPIR (Zhang et al. 2021, "Plug-and-play image restoration with deep
denoiser prior"). At each level sigma_k

    v = D(x, sigma_k),   x = argmin_u  |A u - y|^2 / sigma_n^2 + LAMBDA |u - v|^2 / sigma_k^2

A has to be linear and the noise Gaussian, of deviation sigma_n.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.denoisers import Denoiser, nlm
from hybrid_dip.errors import SettingsError
from hybrid_dip.fidelity import gaussian

LAMBDA = 0.23
"""How much the denoiser counts, as in DPIR."""
NOISELESS = 1e-3
"""sigma_n where y has no noise, or less."""
CONJUGATE_STEPS = 25
"""Of the data step at most; a mask needs two."""
SOLVED = 1e-8
"""Of the squared residual: the data step ends there."""


@dataclass(frozen=True)
class PlugAndPlay:
    """(x, task) -> x: go on from an image.

    Attributes:
        denoiser: D, (x, sigma) -> x.
        first: Noise level of the first round, 0..1: what is taken to be wrong with the image to begin with.
        last: Of the last round; the levels fall from one to the other by a constant factor.
        rounds: How many.
    """

    denoiser: Annotated[Denoiser, "denoisers"] = nlm
    first: float = 10 / 255
    last: float = 3 / 255
    rounds: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.last <= self.first <= 1 or self.rounds < 1:
            raise SettingsError(
                f"Plug-and-play needs noise levels 0 < last <= first <= 1 and at least one round, got {self.first}, "
                f"{self.last} and {self.rounds}."
            )

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        name = getattr(self.denoiser, "__name__", type(self.denoiser).__name__)
        return {"name": "plug-and-play", "denoiser": name, "first": self.first, "last": self.last, "rounds": self.rounds}

    def check(self, task: Task) -> None:
        """Say where it does not apply.

        Args:
            task: To be restored.

        Raises:
            SettingsError: The noise is not Gaussian.
        """
        if task.fidelity is not gaussian:
            raise SettingsError("Plug-and-play is for Gaussian noise or none; the fidelity of this task is another.")

    def __call__(self, x: Tensor, task: Task) -> Tensor:
        """Restore.

        Args:
            x: (1, C, H, W), to begin with.
            task: A linear one.

        Returns:
            Of the same shape, before ``finish``.
        """
        self.check(task)
        noise = max(task.noise_sigma or 0.0, NOISELESS)
        ratio = (self.last / self.first) ** (1 / max(1, self.rounds - 1))
        for k in range(self.rounds):
            level = self.first * ratio**k
            with torch.no_grad():
                v = self.denoiser(x, level).detach()
            x = nearest_explanation(v, task, LAMBDA * (noise / level) ** 2)
        return x


def nearest_explanation(v: Tensor, task: Task, weight: float) -> Tensor:
    """The data step, by conjugate gradients.

        argmin_u |w (A u - y)|^2 + weight |u - v|^2

    Args:
        v: (1, C, H, W).
        task: With a linear A.
        weight: Above 0.

    Returns:
        u.
    """
    back = adjoint(task)

    def normal(u: Tensor) -> Tensor:
        return back(task.forward(u) - offset) + weight * u

    with torch.no_grad():
        offset = task.forward(torch.zeros_like(v))
        left = -back(task.residual(v))
        u, direction = v.clone(), left
        size = left.square().sum()
        enough = SOLVED * size
        for _ in range(CONJUGATE_STEPS):
            if size <= enough or size == 0:
                break
            image = normal(direction)
            length = size / (direction * image).sum()
            u = u + length * direction
            left = left - length * image
            size, before = left.square().sum(), size
            direction = left + (size / before) * direction
    return u


def adjoint(task: Task) -> Callable[[Tensor], Tensor]:
    """The map r -> A^T w r, by torch's own gradient.

    Args:
        task: With a linear A (what is constant in it does not matter) and the weights w.

    Returns:
        Of the shape of y -> (1, C, H, W).
    """

    def apply(residual: Tensor) -> Tensor:
        weighted = residual if task.weight is None else residual * task.weight
        with torch.enable_grad():
            x = torch.zeros(task.shape, device=residual.device, dtype=residual.dtype, requires_grad=True)
            (found,) = torch.autograd.grad(task.forward(x), x, weighted)
        return found

    return apply
