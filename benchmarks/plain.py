"""The original recipe run plainly: what everything else here is timed against.

The standard network of the original (Ulyanov, Vedaldi & Lempitsky 2018) out of torch's own layers, and its loop as one would
write it down: eager, float32, one operation after the other. Nothing here is shared with the package's networks or its loop,
so that a change there cannot move the yardstick; tests hold both to the same numbers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Case
from hybrid_dip.fitting.random_state import random_state, set_random_state
from hybrid_dip.images import metrics
from hybrid_dip.recipes.recipe import Recipe

SCALES, WIDTH, SKIP, DECAY = 5, 128, 4, 0.99
CPU = torch.device("cpu")


class Concatenation(nn.Module):
    """The outputs of two branches, one after the other along the channels."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C + C', H, W)."""
        return torch.cat([self.first(x), self.second(x)], 1)


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(in_channels, out_channels, kernel, stride)]


def _stage(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [*_convolution(in_channels, out_channels, kernel, stride), nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.2)]


def _scale(in_channels: int, deeper: int) -> nn.Module:
    branch = nn.Sequential(*_stage(in_channels, SKIP, 1))
    down = [*_stage(in_channels, WIDTH, 3, 2), *_stage(WIDTH, WIDTH, 3)]
    merge = [nn.BatchNorm2d(SKIP + WIDTH), *_stage(SKIP + WIDTH, WIDTH, 3), *_stage(WIDTH, WIDTH, 1)]
    # The next scale's weights are drawn after this one's, as in the original.
    below = [_scale(WIDTH, deeper - 1)] if deeper else []
    main = nn.Sequential(*down, *below, nn.Upsample(scale_factor=2, mode="bilinear"))
    return nn.Sequential(Concatenation(branch, main), *merge)


def standard_network(in_channels: int = 32, out_channels: int = 3) -> nn.Module:
    """The standard network, sides multiples of 32; the same seed draws the same weights as ``presets.STANDARD``."""
    return nn.Sequential(_scale(in_channels, SCALES - 1), *_convolution(WIDTH, out_channels, 1), nn.Sigmoid())


@dataclass
class Curve:
    """PSNR along a fit: of the output average and of the output, every so many steps."""

    steps: list[int] = field(default_factory=list)
    average: list[float] = field(default_factory=list)
    output: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class PlainFit:
    """The original's loop on one case, which can be saved and taken up again.

    Args:
        case: One of the tasks whose recipe is the standard network: denoising, super-resolution, missing pixels.
        recipe: The original's settings for it.
        seed: Of weights, latent and jitter.
        network: (in_channels, out_channels) -> the standard network, where it is to be computed in another way.
        device: Where.
    """

    def __init__(
        self,
        case: Case,
        recipe: Recipe,
        seed: int,
        network: Callable[[int, int], nn.Module] = standard_network,
        device: torch.device = CPU,
    ):
        size = (case.task.shape[-2], case.task.shape[-1])
        torch.manual_seed(seed)
        if recipe.latent_first:
            z = recipe.latent(size=size)
        self.network = network(32, case.task.shape[1]).to(device)
        if not recipe.latent_first:
            z = recipe.latent(size=size)
        self.case, self.task, self.jitter, self.z, self.device = case, case.task.to(device), recipe.jitter, z.to(device), device
        self.adam = torch.optim.Adam(self.network.parameters(), lr=recipe.lr)
        self.output = self.average = torch.zeros(case.task.shape, device=device)
        self.done, self.seconds = 0, 0.0
        torch.backends.cudnn.benchmark = True  # as the original's notebooks say; convolutions in TF32 is torch's own choice

    def step(self) -> None:
        """One step of Adam; on a GPU its time is that of asking for it."""
        started = time.perf_counter()
        task = self.task
        self.adam.zero_grad()
        x = self.network(self.z + self.jitter * torch.randn(self.z.shape, device=self.device))
        loss = task.fidelity(task.forward(x), task.observation, task.weight)
        torch.autograd.backward(loss)
        self.adam.step()
        self.output = x.detach()
        self.average = self.output if self.done == 0 else DECAY * self.average + (1 - DECAY) * self.output
        self.done += 1
        self.seconds += time.perf_counter() - started

    def measure(self, curve: Curve) -> None:
        """Add the PSNR as it is now to a curve; no part of the time of a step."""
        task, reference = self.case.task, self.case.reference
        curve.steps.append(self.done)
        curve.average.append(round(metrics.psnr(task.finish(self.average.cpu()), reference), 4))
        curve.output.append(round(metrics.psnr(task.finish(self.output.cpu()), reference), 4))
        curve.seconds.append(round(self.seconds, 2))

    def seconds_per_step(self, steps: int, uncounted: int = 3) -> float:
        """Take some steps and return the mean time of those after the first."""
        for _ in range(uncounted):
            self.step()
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._wait()
        return (time.perf_counter() - started) / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def state(self) -> dict[str, Any]:
        """Everything, to go on from."""
        return {
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "images": (self.output, self.average),
            "counters": (self.done, self.seconds),
            "random": random_state(self.device),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.output, self.average = (image.to(self.device) for image in state["images"])
        self.done, self.seconds = state["counters"]
        set_random_state(state["random"], self.device)
