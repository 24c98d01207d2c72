"""Variation: small for images whose pixels differ little from their neighbours, except at edges."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.least_squares import conjugate_gradients
from hybrid_dip.regularisers.memory import Memory, WithMemory, check_every
from hybrid_dip.regularisers.terms import Weighable
from hybrid_dip.regularisers.transforms import dct_matrix


def _check_above_zero(owner: object, **options: float) -> None:
    for name, value in options.items():
        if not 0 < value < float("inf"):
            raise SettingsError(f"{type(owner).__name__} needs {name} above 0, got {value}.")


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences, zero across the border.

    Args:
        x: (1, C, H, W).

    Returns:
        Differences to the pixel below and to the pixel on the right, each (1, C, H, W).
    """
    return F.pad(x.diff(dim=-2), (0, 0, 0, 1)), F.pad(x.diff(dim=-1), (0, 1, 0, 0))


def smooth_root(squared: Tensor, epsilon: float) -> Tensor:
    """sqrt(s + epsilon^2) - epsilon: a root whose slope at 0 is finite.

    Args:
        squared: s, at least 0.
        epsilon: Constant above 0, in the units of the root.

    Returns:
        The root, of the same shape.
    """
    root: Tensor = torch.sqrt(squared + epsilon**2) - epsilon
    return root


@dataclass(frozen=True)
class TV(Weighable):
    """Isotropic total variation, a mean per pixel and channel (Rudin, Osher & Fatemi 1992).

        TV(x) = mean_p ( sqrt(|x(p + down) - x(p)|^2 + |x(p + right) - x(p)|^2 + epsilon^2) - epsilon )

    Differences across the border are zero. The epsilon inside the root keeps the gradient finite where the image is flat.

    Attributes:
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        _check_above_zero(self, epsilon=self.epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """Return TV(x) for x of shape (1, C, H, W), as ()."""
        down, right = differences(x)
        return smooth_root(down.square() + right.square(), self.epsilon).mean()

    def prox(self, x: Tensor, gamma: float) -> Tensor:
        """argmin_u |u - x|^2 / 2 + gamma TV(u) without the epsilon, by Chambolle's projections (scikit-image), on the CPU."""
        from skimage.restoration import denoise_tv_chambolle

        planes = x.detach().double().cpu().flatten(0, 1).numpy()
        smooth = denoise_tv_chambolle(planes, weight=gamma / x.numel(), eps=1e-9, max_num_iter=2000, channel_axis=0)
        return torch.from_numpy(smooth).to(x).view_as(x)


@dataclass(frozen=True)
class AnisotropicTV(Weighable):
    """Anisotropic total variation: rows and columns apart, which favours edges along them (Esedoglu & Osher 2004).

        R(x) = mean_p ( r(x(p + down) - x(p)) + r(x(p + right) - x(p)) ),   r(d) = sqrt(d^2 + epsilon^2) - epsilon

    Attributes:
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        _check_above_zero(self, epsilon=self.epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        down, right = differences(x)
        return (smooth_root(down.square(), self.epsilon) + smooth_root(right.square(), self.epsilon)).mean()


@dataclass(frozen=True)
class HuberTV(Weighable):
    """Huber's variation: quadratic for small differences, so slopes do not become stairs (Werlberger et al. 2009).

        R(x) = mean_p h(|grad x(p)|),   h(g) = g^2 / (2 delta) for g <= delta, g - delta / 2 above

    Attributes:
        delta: Difference from which on h is linear, in units of [0, 1], above 0.
    """

    delta: float = 0.02

    def __post_init__(self) -> None:
        _check_above_zero(self, delta=self.delta)

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        down, right = differences(x)
        squared = down.square() + right.square()
        small = squared <= self.delta**2
        # The root is taken of large values only: at 0 its slope is infinite, even where it is not chosen.
        root = torch.where(small, torch.full_like(squared, self.delta**2), squared).sqrt()
        return torch.where(small, squared / (2 * self.delta), root - self.delta / 2).mean()


@dataclass(frozen=True)
class VectorialTV(Weighable):
    """Total variation of all channels together: edges come to the same places (Blomgren & Chan 1998, Bresson & Chan 2008).

        R(x) = mean_p ( sqrt(sum_c |grad x_c(p)|^2 + epsilon^2) - epsilon )

    Attributes:
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        _check_above_zero(self, epsilon=self.epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        down, right = differences(x)
        return smooth_root((down.square() + right.square()).sum(1), self.epsilon).mean()


@dataclass(frozen=True)
class WeightedTV(WithMemory):
    """Total variation with a weight for each pixel, smaller where the image itself has edges and texture.

        R(x) = mean_p w(p) ( sqrt(|grad x(p)|^2 + epsilon^2) - epsilon )
        w(p) = mu / (mu + g(p)),   g = |grad x| averaged over channels and a window, mu = mean of g

    The weights come from the current estimate, every few steps (the idea of ADMM-DIPTV, Cascarano et al. 2021).

    Attributes:
        window: Side of the square that gradients are averaged over, an odd number of pixels.
        every: Steps between two looks at the estimate.
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    window: int = 5
    every: int = 50
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        check_every("WeightedTV", self.every)
        _check_above_zero(self, epsilon=self.epsilon)
        if self.window < 1 or self.window % 2 == 0:
            raise SettingsError(f"WeightedTV needs an odd window of at least 1 pixel, got {self.window}.")

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """Weights from the gradients of x."""
        down, right = differences(x)
        sizes = (down.square() + right.square()).sqrt().mean(1, keepdim=True)
        half = self.window // 2
        local = F.avg_pool2d(sizes, self.window, stride=1, padding=half, count_include_pad=False)
        mean = local.mean().clamp_min(torch.finfo(x.dtype).tiny)
        return {"weights": mean / (mean + local)}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The weighted mean."""
        down, right = differences(x)
        return (memory["weights"] * smooth_root(down.square() + right.square(), self.epsilon)).mean()


_ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "gradient": lambda eigenvalues: eigenvalues,
    "laplacian": lambda eigenvalues: eigenvalues.square(),
}


@dataclass(frozen=True)
class Tikhonov(Weighable):
    """Quadratic smoothness (Tikhonov 1963) of the gradient, or of the Laplacian, which leaves slopes alone.

        gradient:   R(x) = mean_p |grad x(p)|^2
        laplacian:  R(x) = mean_p (div grad x(p))^2

    Differences across the border are zero, so a cosine transform (DCT-II) makes both diagonal.

    Attributes:
        of: What is squared, "gradient" or "laplacian".
    """

    of: Literal["gradient", "laplacian"] = "gradient"

    def __post_init__(self) -> None:
        if self.of not in _ORDERS:
            raise SettingsError(f"Tikhonov is of 'gradient' or 'laplacian', got {self.of!r}.")

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        down, right = differences(x)
        if self.of == "gradient":
            return (down.square() + right.square()).mean()
        above, left = F.pad(down, (0, 0, 1, 0))[..., :-1, :], F.pad(right, (1, 0, 0, 0))[..., :-1]
        return (down - above + right - left).square().mean()

    def prox(self, x: Tensor, gamma: float) -> Tensor:
        """argmin_u |u - x|^2 / 2 + gamma R(u) for x of shape (1, C, H, W), exactly."""
        height, width = x.shape[-2:]
        rows, columns = dct_matrix(height).to(x), dct_matrix(width).to(x)
        along = [2 - 2 * torch.cos(torch.pi * torch.arange(n) / n) for n in (height, width)]
        eigenvalues = _ORDERS[self.of](along[0][:, None] + along[1]).to(x)
        spectrum = rows @ x @ columns.T / (1 + 2 * gamma / x.numel() * eigenvalues)
        return rows.T @ spectrum @ columns


@dataclass(frozen=True)
class TGV(WithMemory):
    """Total generalised variation, second order: flat and sloped regions between few edges (Bredies, Kunisch & Pock 2010).

        R(x) = min_w mean_p ( r(|grad x - w|) + ratio r(|E w|) ),   r(d) = sqrt(d^2 + epsilon^2) - epsilon
        E w = (grad w + grad w^T) / 2

    Differences are taken inside the image only, so the energy is 0 for every affine image. The field w follows the estimate: at
    each look a few rounds of reweighted least squares (by conjugate gradients) continue from the last field.

    Attributes:
        ratio: alpha_0 / alpha_1, above 0.
        rounds: Rounds of reweighting at each look.
        every: Steps between two looks at the estimate.
        epsilon: Constant inside the root, in units of [0, 1], above 0.
    """

    ratio: float = 2.0
    rounds: int = 2
    every: int = 1
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        check_every("TGV", self.every)
        _check_above_zero(self, ratio=self.ratio, epsilon=self.epsilon, rounds=self.rounds)

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """The field w of x, continued from the last one where there is one."""
        gradient = _inner_gradient(x)
        field = memory.get("field", torch.zeros_like(gradient))
        for _ in range(self.rounds if memory else 10 * self.rounds):
            field = self._reweight(gradient, field)
        return {"field": field}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The energy of x with the field w."""
        field = memory["field"]
        first = smooth_root((_inner_gradient(x) - field).square().sum(0), self.epsilon).mean()
        return first + self.ratio * smooth_root(_squared_strain(field), self.epsilon).mean()

    def _reweight(self, gradient: Tensor, field: Tensor) -> Tensor:
        """argmin_w mean a |grad x - w|^2 + ratio mean b |E w|^2, a and b the slopes of r at the last field."""
        inside = gradient[0].numel()
        strains = _squared_strain(field)
        near = 1 / ((gradient - field).square().sum(0) + self.epsilon**2).sqrt() / inside
        far = self.ratio / (strains + self.epsilon**2).sqrt() / strains.numel()

        def normal(w: Tensor) -> Tensor:
            return near * w + _strain_adjoint(tuple(far * part for part in _strain(w)))

        return conjugate_gradients(normal, field, near * gradient - normal(field), steps=10)


def _inner_gradient(x: Tensor) -> Tensor:
    """Forward differences where both are inside: (2, 1, C, H - 1, W - 1)."""
    return torch.stack([x.diff(dim=-2)[..., :-1], x.diff(dim=-1)[..., :-1, :]])


def _strain(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E w of a field (2, ..., h, w): down-down, right-right, and the mixed part, whose factor makes the norm count it twice."""
    down, right = w
    mixed = (down.diff(dim=-1)[..., :-1, :] + right.diff(dim=-2)[..., :-1]) / 2**0.5
    return down.diff(dim=-2)[..., :-1], right.diff(dim=-1)[..., :-1, :], mixed


def _squared_strain(w: Tensor) -> Tensor:
    first, second, mixed = _strain(w)
    return first.square() + second.square() + mixed.square()


def _strain_adjoint(parts: tuple[Tensor, ...]) -> Tensor:
    first, second, mixed = (F.pad(part, (0, 1, 0, 1)) for part in parts)

    def back(part: Tensor, dim: int) -> Tensor:
        """The adjoint of a forward difference whose last entry is left out."""
        return part.roll(1, dim) - part

    return torch.stack([back(first, -2) + back(mixed, -1) / 2**0.5, back(second, -1) + back(mixed, -2) / 2**0.5])
