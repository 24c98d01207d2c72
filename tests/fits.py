"""A small fit, and what disturbs it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.contracts import Fit, Step, Task
from hybrid_dip.fitting.fit import fit
from hybrid_dip.networks import latents


def lean() -> nn.Module:
    return networks.skip(8, 3, down=(16, 16, 16), skip=(4, 4, 4), upsample="bilinear", padding="reflection")


def run(task: Task, terms: Any = (), seed: int = 0, **options: Any) -> Fit:
    torch.manual_seed(seed)
    network = options.pop("network", None) or lean()
    options.setdefault("max_steps", 30)
    options.setdefault("log_every", 5)
    return fit(network, latents.uniform(8, (32, 32)), task, terms, **options)


class Poisoned:
    """A prior that is fine until a given call, then NaN for some calls."""

    def __init__(self, start: int, calls: int):
        self.start, self.calls, self.count = start, calls, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.count += 1
        factor = float("nan") if self.start <= self.count < self.start + self.calls else 1.0
        return x.square().mean() * factor


def halt_after(steps: int) -> Any:
    calls = iter(range(1, 10**6))
    return lambda: next(calls) == steps


class WhenOver:
    """An observer that is only told when its fit is over."""

    def __init__(self, close: Callable[[], object]):
        self.close = close

    def __call__(self, step: Step) -> None:
        pass
