"""Padding by reflection whose gradient is gathered, in the order in which the maps lie in memory.

torch scatters that gradient: on a GPU by additions that wait for each other, on a CPU number by number, though most of it is a
copy. On a GPU it also pads in the usual order of the channels only. Tensor cores take maps whose channels lie next to each
other at each pixel, and those would be reordered twice around each padding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 2**18
"""Numbers in a map from which on this is faster on a CPU, in spite of the calls of several functions."""


def pays(x: Tensor) -> bool:
    """Whether :func:`pad` is faster than torch's own.

    Args:
        x: (N, C, H, W).

    Returns:
        True on a GPU, and for large maps on a CPU; False in a compiled network, which has kernels of its own.
    """
    worthwhile = x.device.type == "cuda" or (x.device.type == "cpu" and x.numel() >= LARGE)
    return worthwhile and not torch.compiler.is_compiling()


def pad(x: Tensor, margin: int) -> Tensor:
    """Reflect maps around their borders, which are not repeated.

    Args:
        x: (N, C, H, W), in any order.
        margin: Pixels on each side, less than H and W.

    Returns:
        (N, C, H + 2 margin, W + 2 margin), in x's order; the same numbers and gradients as torch's.
    """
    result: Tensor = _Padding.apply(x, margin)
    return result


class _Padding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int) -> Tensor:
        ctx.margin = margin
        if not _by_pixel(x):
            return F.pad(x, (margin,) * 4, mode="reflect")
        # In memory it is one volume, the channels its last axis.
        pixels = x.permute(0, 2, 3, 1)
        volume = F.pad(_wide(pixels)[:, None], (0, 0, *(margin,) * 4), mode="reflect")[:, 0]
        return volume.view(x.dtype).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        m: int = ctx.margin
        inside = _add_columns(gradient[:, :, m:-m], m)
        inside[:, :, 1 : 1 + m] += _mirror(_add_columns(gradient[:, :, :m], m), 2)
        inside[:, :, -1 - m : -1] += _mirror(_add_columns(gradient[:, :, -m:], m), 2)
        return inside, None


def _add_columns(padded: Tensor, m: int) -> Tensor:
    """(N, C, H, W + 2m) -> (N, C, H, W): the padding is added to where it came from."""
    inside = _copy(padded[..., m:-m])
    inside[..., 1 : 1 + m] += _mirror(padded[..., :m], 3)
    inside[..., -1 - m : -1] += _mirror(padded[..., -m:], 3)
    return inside


def _mirror(x: Tensor, axis: int) -> Tensor:
    return x if x.shape[axis] == 1 else x.flip(axis)


def _copy(x: Tensor) -> Tensor:
    """A copy without gaps, in x's order."""
    if not _by_pixel(x) or torch.is_grad_enabled():  # _wide has no gradient
        return x.clone(memory_format=torch.channels_last if _by_pixel(x) else torch.contiguous_format)
    return _wide(x.permute(0, 2, 3, 1)).clone(memory_format=torch.contiguous_format).view(x.dtype).permute(0, 3, 1, 2)


def _by_pixel(x: Tensor) -> bool:
    """Whether the channels lie next to each other."""
    return x.stride(1) == 1 and x.shape[1] > 1


def _wide(pixels: Tensor) -> Tensor:
    """View (N, H, W, C) as numbers of 8 bytes where possible: a GPU moves one as fast as a number of half precision."""
    steps = (*pixels.stride()[:3], pixels.storage_offset(), pixels.shape[3])
    return pixels.view(torch.double) if all(step * pixels.element_size() % 8 == 0 for step in steps) else pixels
