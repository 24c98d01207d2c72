"""3x3 convolutions of wide maps on a CPU, with half the multiplications: Winograd's minimal filtering along the columns.

Four rows of the output take six multiplications a column of the kernel instead of twelve, F(4, 3) of Lavin & Gray ("Fast
Algorithms for Convolutional Neural Networks", CVPR 2016): y = A^T ((G g) * (B^T d)), where d are six rows of the padded input
and g three rows of the kernel. Along the rows the kernel is applied as it is, as three products of matrices that are shifted
views of one another, so nothing is unrolled in memory. The result differs from the direct sum by rounding alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_CHANNELS = 64
FEWEST_PIXELS = 64 * 64
"""With fewer channels or pixels the transforms cost about what they save."""

_KERNEL_TRANSFORM = (  # G
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`convolve` can take a convolution with stride 1, and is faster.

    Args:
        x: (N, C, H, W).
        weight: (K, C, h, w).

    Returns:
        True for one float32 image on a CPU with many channels and pixels, whose height divides by four.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.shape[0] == 1
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and x.shape[2] * x.shape[3] >= FEWEST_PIXELS
        and x.shape[2] % 4 == 0
        and not torch.is_autocast_enabled("cpu")
    )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, *, reflect: bool) -> Tensor:
    """A 3x3 convolution with stride 1 that keeps the size.

    Args:
        x: (1, C, H, W), H a multiple of four.
        weight: (K, C, 3, 3).
        bias: (K,) or None.
        reflect: Pad by reflection, else by zeros.

    Returns:
        (1, K, H, W).
    """
    result: Tensor = _Convolution.apply(x, weight, bias, reflect)
    return result


class _Convolution(torch.autograd.Function):
    """The convolution and its gradients; a gradient of a gradient goes through torch's own convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, reflect: bool) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.reflect = reflect
        rows = _input_transform(_pad(x, reflect)[0])
        kernel = _kernel_transform(weight)
        # Rows of a map lie one after the other, so a shift by a column is a shift of the whole; what runs over the end of a row
        # ends up in the two columns that padding has added, which are not read.
        long = rows.flatten(2)
        length = long.shape[2] - 2
        inside = torch.bmm(kernel[0], long[..., :length])
        inside.baddbmm_(kernel[1], long[..., 1 : 1 + length])
        inside.baddbmm_(kernel[2], long[..., 2:])
        width = x.shape[3]
        products = inside.as_strided((*inside.shape[:2], x.shape[2] // 4, width), (*inside.stride()[:2], width + 2, 1))
        y = _output_transform(products)[None]
        return y if bias is None else y.add_(bias[:, None, None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*_differentiable_gradients(x, weight, bias, gradient, ctx.reflect), None)
        pulled = _output_adjoint(gradient[0]).flatten(2)
        length = pulled.shape[2] - 2
        of_weight = of_x = None
        if ctx.needs_input_grad[1]:
            long = _input_transform(_pad(x, ctx.reflect)[0]).flatten(2)
            inside = pulled[..., :length]
            of_kernel = torch.stack([inside @ long[..., s : s + length].transpose(1, 2) for s in range(3)])
            of_weight = _kernel_adjoint(of_kernel)
        if ctx.needs_input_grad[0]:
            kernel = _kernel_transform(weight).transpose(2, 3)
            of_rows = kernel[0] @ pulled
            of_rows[..., 1:].baddbmm_(kernel[1], pulled[..., :-1])
            of_rows[..., 2:].baddbmm_(kernel[2], pulled[..., :-2])
            of_x = _pad_adjoint(_input_adjoint(of_rows.view(*of_rows.shape[:2], -1, x.shape[3] + 2)), ctx.reflect)[None]
        of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None


def _differentiable_gradients(
    x: Tensor, weight: Tensor, bias: Tensor | None, gradient: Tensor, reflect: bool
) -> tuple[Tensor | None, ...]:
    """The gradients with a graph of their own."""
    y = F.conv2d(_pad(x, reflect), weight, bias)
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None and leaf.requires_grad]
    gradients = iter(torch.autograd.grad(y, leaves, gradient, create_graph=True))
    return tuple(next(gradients) if leaf is not None and leaf.requires_grad else None for leaf in (x, weight, bias))


def _pad(x: Tensor, reflect: bool) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="reflect" if reflect else "constant")


def _pad_adjoint(padded: Tensor, reflect: bool) -> Tensor:
    """(C, H + 2, W + 2) -> (C, H, W): the padding is added to where it came from. Changes its argument."""
    if reflect:
        padded[:, 2] += padded[:, 0]
        padded[:, -3] += padded[:, -1]
    inside = padded[:, 1:-1, 1:-1].contiguous()
    if reflect:
        inside[..., 1] += padded[:, 1:-1, 0]
        inside[..., -2] += padded[:, 1:-1, -1]
    return inside


def _input_transform(padded: Tensor) -> Tensor:
    """B^T d: (C, H + 2, W + 2) -> (6, C, H / 4, W + 2)."""
    channels, height, width = padded.shape[0], (padded.shape[1] - 2) // 4, padded.shape[2]
    d = [padded[:, row : row + 4 * height - 3 : 4] for row in range(6)]
    rows = padded.new_empty(6, channels, height, width)
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=rows[1])
    torch.sub(even, odd, out=rows[2])
    torch.add(even.sub_(d[2]), d[0], alpha=4, out=rows[0])
    torch.sub(d[5], d[3], alpha=5, out=odd)
    torch.add(odd, d[1], alpha=4, out=rows[5])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=rows[3])
    torch.sub(even, odd, alpha=2, out=rows[4])
    return rows


def _input_adjoint(rows: Tensor) -> Tensor:
    """B: (6, C, H / 4, W + 2) -> (C, H + 2, W + 2), the adjoint of :func:`_input_transform`."""
    _, channels, height, width = rows.shape
    padded = rows.new_empty(channels, 4 * height + 2, width)
    d = [padded[:, row : 4 * height : 4] for row in range(4)]
    near_sum, near_difference, far_sum, far_difference = (
        rows[1] + rows[2],
        rows[1] - rows[2],
        rows[3] + rows[4],
        rows[3] - rows[4],
    )
    torch.mul(rows[0], 4, out=d[0])
    torch.sub(rows[5], near_difference, out=d[1]).mul_(4).sub_(far_difference, alpha=2)
    torch.mul(rows[0], -5, out=d[2]).sub_(near_sum, alpha=4).sub_(far_sum)
    torch.add(near_difference, far_difference, alpha=2, out=d[3]).sub_(rows[5], alpha=5)
    padded[:, -2:] = 0
    # The last two of the six rows are the first two of the next four.
    padded[:, 4::4] += near_sum.add_(far_sum).add_(rows[0])
    padded[:, 5::4] += rows[5]
    return padded


def _kernel_transform(weight: Tensor) -> Tensor:
    """G g for each column of the kernel: (K, C, 3, 3) -> (3, 6, K, C)."""
    return torch.einsum("rh,kchs->srkc", weight.new_tensor(_KERNEL_TRANSFORM), weight).contiguous()


def _kernel_adjoint(kernel: Tensor) -> Tensor:
    """G^T: (3, 6, K, C) -> (K, C, 3, 3)."""
    return torch.einsum("rh,srkc->kchs", kernel.new_tensor(_KERNEL_TRANSFORM), kernel).contiguous()


def _output_transform(products: Tensor) -> Tensor:
    """A^T m: (6, K, H / 4, W) -> (K, H, W)."""
    _, channels, height, width = products.shape
    y = products.new_empty(channels, height, 4, width)
    near_sum, near_difference = products[1] + products[2], products[1] - products[2]
    far_sum, far_difference = products[3] + products[4], products[3] - products[4]
    torch.add(near_sum, far_sum, out=y[:, :, 0]).add_(products[0])
    torch.add(near_difference, far_difference, alpha=2, out=y[:, :, 1])
    torch.add(near_sum, far_sum, alpha=4, out=y[:, :, 2])
    torch.add(near_difference, far_difference, alpha=8, out=y[:, :, 3]).add_(products[5])
    return y.flatten(1, 2)


def _output_adjoint(y: Tensor) -> Tensor:
    """A: (K, H, W) -> (6, K, H / 4, W + 2), with two columns of zeros at the end."""
    channels, rows, width = y.shape
    g = y.reshape(channels, rows // 4, 4, width).unbind(2)
    products = y.new_empty(6, channels, rows // 4, width + 2)
    products[..., width:] = 0
    inside = products[..., :width]
    even, odd = g[0] + g[2], g[1] + g[3]
    inside[0] = g[0]
    torch.add(even, odd, out=inside[1])
    torch.sub(even, odd, out=inside[2])
    torch.add(g[0], g[2], alpha=4, out=even)
    torch.add(g[1], g[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=inside[3])
    torch.sub(even, odd, alpha=2, out=inside[4])
    inside[5] = g[3]
    return products
