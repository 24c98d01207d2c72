"""Batch norm of a single image on a CPU, as the group norm that it then is: a channel is a group.

Both subtract a channel's mean and divide by its deviation; torch computes these for groups with vector instructions, for a
batch one number after the other.
"""

import torch
from torch import Tensor, nn


def pays(x: Tensor) -> bool:
    """Whether a group norm can take the place of a batch norm, and is faster.

    Args:
        x: (N, C, H, W).

    Returns:
        True for one image of more than one pixel on a CPU, in full precision, where the network is not compiled.
    """
    full = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return full and len(x) == 1 and x.shape[2] * x.shape[3] > 1 and not torch.compiler.is_compiling()


class BatchNorm(nn.BatchNorm2d):
    """torch's batch norm, its running statistics included; the same numbers up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        if not self.training or not pays(x):
            return super().forward(x)
        pixels = x.shape[2] * x.shape[3]
        result, mean, inverse = torch.native_group_norm(
            x.contiguous(), self.weight, self.bias, 1, self.num_features, pixels, self.num_features, self.eps
        )
        if self.track_running_stats:
            self._count(mean.detach().flatten(), inverse.detach().flatten(), pixels)
        return result

    def _count(self, mean: Tensor, inverse: Tensor, pixels: int) -> None:
        """Take a channel's mean and deviation into the running statistics, which hold unbiased variances."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        variance = (inverse.pow(-2) - self.eps) * (pixels / (pixels - 1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
