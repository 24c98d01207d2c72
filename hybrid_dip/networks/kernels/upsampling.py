"""Upsampling by two without weights; where it is faster, bilinear upsampling in our own code, whose gradient is gathered.

torch scatters that gradient by additions that wait for each other, in compiled networks as well. A pixel of the doubled map is
three quarters of the nearest pixel and a quarter of the next one, along the rows and along the columns.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_dip.errors import SettingsError, nearest


class Doubling(nn.Upsample):
    """torch's upsampling by two in the precision of its input; autocast would make it, and what follows, single precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, 2 H, 2 W)."""
        if x.device.type == "meta":  # which has no autocast
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return double(x) if self.mode == "bilinear" and pays(x) else super().forward(x)


def pays(x: Tensor) -> bool:
    """Whether :func:`double` is faster than torch's own.

    Args:
        x: (N, C, H, W).

    Returns:
        True in a network compiled for a GPU, and on a CPU in full precision for maps in the usual order of the channels.
    """
    if torch.compiler.is_compiling():
        return x.device.type == "cuda"
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.is_contiguous()


def double(x: Tensor) -> Tensor:
    """Bilinear upsampling by two.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C, 2 H, 2 W), the same numbers and gradients as torch's up to rounding.
    """
    result: Tensor = _Doubling.apply(x)
    return result


class _Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return _spread(_spread(x, 3), 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gather = _gather_by_index if torch.compiler.is_compiling() else _gather
        return gather(gather(gradient, 2), 3)


def _spread(x: Tensor, axis: int) -> Tensor:
    """Twice as many pixels along an axis; the first and the last have no next pixel."""
    count = x.shape[axis]
    doubled = x.new_empty([2 * size if i == axis else size for i, size in enumerate(x.shape)])
    before, after = torch.unflatten(doubled, axis, (count, 2)).unbind(axis + 1)
    before.narrow(axis, 0, 1).copy_(x.narrow(axis, 0, 1))
    after.narrow(axis, count - 1, 1).copy_(x.narrow(axis, count - 1, 1))
    lower, upper = x.narrow(axis, 0, count - 1), x.narrow(axis, 1, count - 1)
    torch.lerp(upper, lower, 0.25, out=before.narrow(axis, 1, count - 1))
    torch.lerp(lower, upper, 0.25, out=after.narrow(axis, 0, count - 1))
    return doubled


def _gather(gradient: Tensor, axis: int) -> Tensor:
    """The adjoint of :func:`_spread`."""
    count = gradient.shape[axis] // 2
    before, after = torch.unflatten(gradient, axis, (count, 2)).unbind(axis + 1)
    gathered: Tensor = (before + after).mul_(0.75)
    gathered.narrow(axis, 0, 1).add_(before.narrow(axis, 0, 1), alpha=0.25)
    gathered.narrow(axis, count - 1, 1).add_(after.narrow(axis, count - 1, 1), alpha=0.25)
    gathered.narrow(axis, 1, count - 1).add_(after.narrow(axis, 0, count - 1), alpha=0.25)
    gathered.narrow(axis, 0, count - 1).add_(before.narrow(axis, 1, count - 1), alpha=0.25)
    return gathered


def _gather_by_index(gradient: Tensor, axis: int) -> Tensor:
    """The same as one expression, which a compiler turns into one kernel."""
    last = gradient.shape[axis] - 1
    first = torch.arange(0, last, 2, device=gradient.device)
    before, even, odd, after = (gradient.index_select(axis, (first + shift).clamp(0, last)) for shift in (-1, 0, 1, 2))
    gathered: Tensor = 0.75 * (even + odd) + 0.25 * (before + after)
    return gathered


def doubling_layer(how: str) -> nn.Module:
    """A layer that doubles maps without weights.

    Args:
        how: "nearest" or "bilinear".

    Returns:
        The layer.

    Raises:
        SettingsError: Unknown way.
    """
    known = ["nearest", "bilinear"]
    if how not in known:
        raise SettingsError(f"Unknown upsampling '{how}': {nearest(how, known)}.")
    return Doubling(scale_factor=2, mode=how, align_corners=None if how == "nearest" else False)
