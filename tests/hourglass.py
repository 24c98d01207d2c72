"""The original's hourglass and downsampler a second time, in plain torch, from their description alone: to compare with."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lanczos(factor: int, support: int) -> Tensor:
    """The original's filter at phase 1/2, (2 support factor, 2 support factor), float64."""

    def window(distance: float) -> float:
        angle = math.pi * distance
        return support * math.sin(angle) * math.sin(angle / support) / angle**2

    taps = torch.tensor([window((i + 0.5) / factor - support) for i in range(2 * support * factor)], dtype=torch.float64)
    kernel = taps[:, None] * taps[None]
    return kernel / kernel.sum()


class Downsampler(nn.Module):
    """A dense convolution whose diagonal is the filter; what it was made with is drawn, and thrown away."""

    def __init__(self, channels: int, factor: int, support: int = 2):
        super().__init__()
        kernel = lanczos(factor, support)
        self.border = (len(kernel) - factor) // 2
        self.convolution = nn.Conv2d(channels, channels, len(kernel), stride=factor)
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]
        for channel in range(channels):
            self.convolution.weight.data[channel, channel] = kernel

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.convolution(F.pad(x, (self.border,) * 4, mode="replicate"))
        return found


class Hourglass(nn.Module):
    """``skip`` with kernels of 3, reflected borders, bilinear upsampling and as many channels up as down."""

    def __init__(self, channels: int, out: int, down: tuple[int, ...], skip: int, support: int | None = None):
        super().__init__()
        self.scales = nn.ModuleList()
        for i, width in enumerate(down):
            branch = self.stage(channels, skip, 1)
            shrink = None if support is None else Downsampler(width, 2, support)
            narrower = self.stage(channels, width, 3, 2 if shrink is None else 1)
            if shrink is not None:
                narrower.insert(1, shrink)
            deeper = self.stage(width, width, 3)
            merged = skip + down[min(i + 1, len(down) - 1)]
            up = nn.Sequential(nn.BatchNorm2d(merged), *self.stage(merged, width, 3), *self.stage(width, width, 1))
            self.scales.append(nn.ModuleList([branch, nn.Sequential(*narrower, *deeper), up]))
            channels = width
        self.head = nn.Conv2d(down[0], out, 1)

    @staticmethod
    def stage(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
        layer = nn.Conv2d(channels, width, kernel, stride, kernel // 2, padding_mode="reflect" if kernel > 1 else "zeros")
        return nn.Sequential(layer, nn.BatchNorm2d(width), nn.LeakyReLU(0.2))

    def at_scale(self, x: Tensor, i: int) -> Tensor:
        branch, down, up = self.scales[i]  # type: ignore[misc]
        deep = down(x)
        if i + 1 < len(self.scales):
            deep = self.at_scale(deep, i + 1)
        deep = F.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        found: Tensor = up(torch.cat([branch(x), deep], 1))
        return found

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.at_scale(z, 0)))
