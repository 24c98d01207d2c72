"""How a network is evaluated: in which precision, compiled or not, its activations kept or computed again.

Only the network is touched. What is optimised, the objective and its gradient at the image stay in single precision, and so do
the optimiser's moments: in half precision the network's activations are rounded, not what is learnt.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hybrid_dip.allocation import scarce_memory
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.recomputing import again, in_parts

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS = get_args(Precision)


@dataclass(frozen=True)
class Execution:
    """How a network is evaluated.

    Attributes:
        precision: "float32"; "tf32": the same numbers, multiplied with 10 bits of mantissa (CUDA only; elsewhere as float32);
            "bfloat16": activations and products in half precision, by autocast.
        compiled: By ``torch.compile``, which takes a while at the first step, and a C++ compiler on the CPU.
        recomputed: Activations are computed again on the way back (:mod:`hybrid_dip.recomputing`): about two thirds of the
            memory for half as much time again. The result is the same. Not where the network is compiled, which decides this
            by itself.
    """

    precision: Precision = "float32"
    compiled: bool = False
    recomputed: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingsError(f"Unknown precision '{self.precision}': {nearest(self.precision, list(PRECISIONS))}.")

    def __str__(self) -> str:
        return self.precision + (", compiled" if self.compiled else "") + (", recomputed" if self.recomputed else "")

    def applied(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Let a network be evaluated like this; its parameters and its state's names stay what they are.

        Args:
            network: Changed in place.
            device: That it is on.

        Returns:
            The network.
        """
        if self.compiled:
            network.compile()
        elif self.recomputed:
            in_parts(network, again)
        if self.precision == "bfloat16":
            network.forward = _rounded(network.forward, device.type)
        return network

    @contextmanager
    def around(self) -> Iterator[None]:
        """Around a fit: whether CUDA may multiply single-precision numbers with fewer bits, and whether memory is scarce."""
        matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, convolution.allow_tf32
        matmul.allow_tf32 = convolution.allow_tf32 = self.precision == "tf32"
        try:
            with scarce_memory() if self.recomputed else nullcontext():
                yield
        finally:
            matmul.allow_tf32, convolution.allow_tf32 = before


PLAIN = Execution()


def _rounded(forward: Callable[..., Tensor], device: str) -> Callable[..., Tensor]:
    def call(*given: Any) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            image = forward(*given)
        return image.float()

    return call


@dataclass(frozen=True)
class Trial:
    """What a few steps showed of one way to evaluate a network.

    Attributes:
        execution: The way.
        first: Seconds until the first step was done, compilation included.
        step: Seconds of a later one.
        error: Why it cannot be done here, or "".
    """

    execution: Execution
    first: float
    step: float
    error: str = ""

    def whole(self, steps: int) -> float:
        """Seconds of so many steps; infinite where it cannot be done."""
        return float("inf") if self.error else self.first + (steps - 1) * self.step


MARGIN = 0.95
"""Another way has to take at most this share of the plain one's time, for a trial is short."""


def candidates(precision: str, compiled: str, device: torch.device) -> list[Execution]:
    """The ways that a user leaves open, the plain one first.

    Args:
        precision: One of :data:`PRECISIONS`, or "auto".
        compiled: "on", "off" or "auto".
        device: Where.

    Returns:
        At least one.

    Raises:
        SettingsError: Another word.
    """
    if compiled not in ("on", "off", "auto"):
        raise SettingsError(f"--compile is on, off or auto, got '{compiled}'.")
    # TF32 is CUDA's.
    open_ones = [name for name in PRECISIONS if name != "tf32" or device.type == "cuda"]
    precisions: Sequence[Any] = open_ones if precision == "auto" else [precision]
    switches = {"on": [True], "off": [False], "auto": [False, True]}[compiled]
    return [Execution(name, switch) for switch in switches for name in precisions]


def fastest(
    ways: Sequence[Execution], steps: int, run: Callable[[Execution, Callable[[], None]], None]
) -> tuple[Execution, list[Trial]]:
    """Time a few steps of each way, and take the one whose whole fit would be over first.

    Args:
        ways: From :func:`candidates`; the first one is the plain one, which another has to beat by :data:`MARGIN`.
        steps: Of the whole fit.
        run: (way, to be called after each step) -> takes a few steps.

    Returns:
        The way, and what was seen of each.
    """
    trials = [_tried(way, run) for way in ways]
    best = min(trials, key=lambda trial: trial.whole(steps))
    plain = trials[0]
    if not plain.error and best.whole(steps) > MARGIN * plain.whole(steps):
        best = plain
    return best.execution, trials


def _tried(way: Execution, run: Callable[[Execution, Callable[[], None]], None]) -> Trial:
    stamps = [time.perf_counter()]
    try:
        run(way, lambda: stamps.append(time.perf_counter()))
    except SettingsError:
        raise
    except Exception as error:  # a compiler may be missing, a device may not multiply in half precision
        return Trial(way, 0.0, 0.0, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    gaps = sorted(after - before for before, after in pairwise(stamps[1:]))
    return Trial(way, stamps[1] - stamps[0], gaps[len(gaps) // 2])
