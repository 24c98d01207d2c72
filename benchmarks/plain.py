"""The original recipe in a plain loop: what the other benchmarks are timed against.

The standard network of the original (Ulyanov, Vedaldi & Lempitsky 2018), made of torch's own layers, and its loop in the
simplest form: eager, float32, one operation after another. It shares no code with the package's networks or its loop, so that
a change there cannot move the yardstick. Tests hold both to the same numbers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Case
from hybrid_dip.fitting.random_state import global_state, set_global_state
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
    # As in the original, the next scale's weights are drawn after this one's.
    below = [_scale(WIDTH, deeper - 1)] if deeper else []
    main = nn.Sequential(*down, *below, nn.Upsample(scale_factor=2, mode="bilinear"))
    return nn.Sequential(Concatenation(branch, main), *merge)


def standard_network(in_channels: int = 32, out_channels: int = 3) -> nn.Module:
    """The standard network, for sides that are multiples of 32; a seed draws the same weights as for ``presets.STANDARD``."""
    return nn.Sequential(_scale(in_channels, SCALES - 1), *_convolution(WIDTH, out_channels, 1), nn.Sigmoid())


@dataclass
class Curve:
    """PSNR along a fit, in dB: of the output average and of the output, with the step and the seconds of each value."""

    steps: list[int] = field(default_factory=list)
    average: list[float] = field(default_factory=list)
    output: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class PlainFit:
    """The original's loop on one case; it can be saved and resumed.

    Args:
        case: A case of denoising, super-resolution or missing pixels, the tasks that the original fits by the standard network.
        recipe: The original's settings for the task.
        seed: Seed of weights, latent and jitter.
        network: Function (in_channels, out_channels) -> the standard network, to compute it in another way.
        device: Device of the fit.
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
        if recipe.spare_draws is not None:
            recipe.spare_draws(case.task)
        self.case, self.task, self.jitter, self.z, self.device = case, case.task.to(device), recipe.jitter, z.to(device), device
        self.adam = torch.optim.Adam(self.network.parameters(), lr=recipe.lr)
        self.output = self.average = torch.zeros(case.task.shape, device=device)
        self.done, self.seconds = 0, 0.0
        torch.backends.cudnn.benchmark = True  # as in the original's notebooks; convolutions in TF32 are torch's own default

    def step(self) -> None:
        """Take one step of Adam. On a GPU the seconds counted are those of launching it."""
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
        """Add the present PSNR to a curve; this does not count as time of a step."""
        task, reference = self.case.task, self.case.reference
        curve.steps.append(self.done)
        curve.average.append(round(metrics.psnr(task.finish(self.average.cpu()), reference), 4))
        curve.output.append(round(metrics.psnr(task.finish(self.output.cpu()), reference), 4))
        curve.seconds.append(round(self.seconds, 2))

    def seconds_per_step(self, steps: int, uncounted: int = 3) -> float:
        """Take steps and return the mean seconds per step; the first ``uncounted`` steps do not count."""
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
        """Everything that :meth:`resume` needs."""
        return {
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "images": (self.output, self.average),
            "counters": (self.done, self.seconds),
            "random": global_state(self.device),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.output, self.average = (image.to(self.device) for image in state["images"])
        self.done, self.seconds = state["counters"]
        set_global_state(self.device, state["random"])
