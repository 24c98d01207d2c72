"""How a network is evaluated: in which precision, compiled or not, recorded as a CUDA graph or not, activations kept or not.

Only the network is touched. What is optimised, the objective and its gradient at the image stay in single precision, and so do
the optimiser's moments: in half precision the network's activations are rounded, not what is learnt.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.execution import cuda_graph
from hybrid_dip.execution.allocator import scarce_memory
from hybrid_dip.execution.recompute import again, in_parts
from hybrid_dip.networks.blocks import idle_biases

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS = get_args(Precision)


@dataclass(frozen=True)
class Execution:
    """How a network is evaluated.

    Attributes:
        precision: "float32"; "tf32": the same numbers, multiplied with 10 bits of mantissa (CUDA only; elsewhere as float32);
            "bfloat16": activations and products in half precision, by autocast.
        compiled: By ``torch.compile``, which takes a while at the first step, and a C++ compiler (on CUDA, a C compiler).
        recomputed: Activations are computed again on the way back (:mod:`hybrid_dip.execution.recompute`): about two thirds
            of the memory for half as much time again. The result is the same. Not where the network is compiled, which
            decides this by itself, or recorded.
        graphed: The network's kernels, forward and back, are recorded once and replayed as a CUDA graph
            (:mod:`hybrid_dip.execution.cuda_graph`). The GPU does not wait for Python to launch them one by one. The
            result is the same. CUDA only, and only where the loop alone evaluates the network.
    """

    precision: Precision = "float32"
    compiled: bool = False
    recomputed: bool = False
    graphed: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingsError(f"Unknown precision '{self.precision}': {nearest(self.precision, list(PRECISIONS))}.")

    def __str__(self) -> str:
        switches = {"compiled": self.compiled, "recomputed": self.recomputed, "graphed": self.graphed}
        return ", ".join([self.precision, *(name for name, on in switches.items() if on)])

    def applied(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Let a network be evaluated like this; its parameters and its state's names stay what they are.

        Args:
            network: Changed in place.
            device: That it is on.

        Returns:
            The network.

        Raises:
            SettingsError: A CUDA graph elsewhere than on a CUDA device.
        """
        self.check(device)
        if self.recomputed and not (self.compiled or self.graphed):
            in_parts(network, again)
        if device.type == "cuda":
            idle_biases(network)
            if self.precision != "float32":
                channels_last(network)  # the order in which tensor cores take maps
        if self.precision == "bfloat16":
            network.forward = _rounded(network.forward, device.type)
        if self.compiled and self.graphed:
            cuda_graph.compiled(network)
        elif self.compiled:
            network.compile()
        elif self.graphed:
            cuda_graph.recorded(network)
        return network

    def check(self, device: torch.device) -> None:
        """Raise where a device cannot do it.

        Args:
            device: Where a network is to be evaluated.

        Raises:
            SettingsError: A CUDA graph elsewhere than on a CUDA device.
        """
        if self.graphed and device.type != "cuda":
            raise SettingsError(f"A CUDA graph (--graph on) takes a CUDA device; this fit is on {device}.")

    @contextmanager
    def around(self) -> Iterator[None]:
        """Around a fit: how CUDA multiplies single-precision numbers and finds its kernels, and whether memory is scarce."""
        matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, convolution.allow_tf32, convolution.benchmark
        matmul.allow_tf32 = convolution.allow_tf32 = self.precision == "tf32"
        convolution.benchmark = True  # a fit repeats the same few convolutions: the fastest kernel of each is found by trial
        try:
            with scarce_memory() if self.recomputed else nullcontext():
                yield
        finally:
            matmul.allow_tf32, convolution.allow_tf32, convolution.benchmark = before


PLAIN = Execution()
NOT_ALONE = (
    "A CUDA graph (--graph on) is of a plain fit of the network's parameters: not of a solver of its own, a latent that is "
    "optimised, or a regulariser that acts on the network."
)


def channels_last(network: nn.Module) -> nn.Module:
    """Let maps lie in memory channel by channel at each pixel; the result is the same up to rounding.

    Args:
        network: Changed in place.

    Returns:
        The network, which takes an input in any order and returns its output in the usual one.
    """
    forward = network.forward

    def call(z: Tensor) -> Tensor:
        image: Tensor = forward(z.contiguous(memory_format=torch.channels_last))
        return image.contiguous()

    network.forward = call
    return network.to(memory_format=torch.channels_last)


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
COMPILING = 30.0
"""Seconds that compiling takes at least: where the whole fit is over sooner, it is not tried."""


def candidates(precision: str, compiled: str, graph: str, device: torch.device, *, alone: bool = True) -> list[Execution]:
    """The ways that a user leaves open, the plain one first, compiled ones last.

    Args:
        precision: One of :data:`PRECISIONS`, or "auto".
        compiled: "on", "off" or "auto".
        graph: "on", "off" or "auto".
        device: Where.
        alone: Whether nothing but the loop evaluates the network; else a CUDA graph is no way.

    Returns:
        At least one.

    Raises:
        SettingsError: Another word, or a CUDA graph where there can be none.
    """
    for option, word in {"--compile": compiled, "--graph": graph}.items():
        if word not in ("on", "off", "auto"):
            raise SettingsError(f"{option} is on, off or auto, got '{word}'.")
    Execution(graphed=graph == "on").check(device)
    if graph == "on" and not alone:
        raise SettingsError(NOT_ALONE)
    # TF32 and graphs are CUDA's.
    open_ones = [name for name in PRECISIONS if name != "tf32" or device.type == "cuda"]
    precisions: Sequence[Any] = open_ones if precision == "auto" else [precision]
    switches = {"on": [True], "off": [False], "auto": [False, True]}
    graphs = switches[graph] if device.type == "cuda" and alone else [False]
    return [
        Execution(name, compiled=compile, graphed=record)
        for compile in switches[compiled]
        for record in graphs
        for name in precisions
    ]


def fastest(
    ways: Sequence[Execution], steps: int, run: Callable[[Execution, Callable[[], None]], None]
) -> tuple[Execution, list[Trial]]:
    """Time a few steps of each way, and take the one whose whole fit would be over first.

    Compiling takes so long that where the choice is open, only the best of the other ways is tried compiled, too, and not
    where the whole fit takes less than :data:`COMPILING`.

    Args:
        ways: From :func:`candidates`; the first one is the plain one, which another has to beat by :data:`MARGIN`.
        steps: Of the whole fit.
        run: (way, to be called after each step) -> takes a few steps.

    Returns:
        The way, and what was seen of each that was tried.
    """
    open_ones = [way for way in ways if not way.compiled]
    trials = [_tried(way, run) for way in open_ones or ways]

    def best() -> Trial:
        return min(trials, key=lambda trial: trial.whole(steps))

    compiled = replace(best().execution, compiled=True)
    if open_ones and compiled in ways and best().whole(steps) >= COMPILING:
        trials.append(_tried(compiled, run))
    found, plain = best(), trials[0]
    if not plain.error and found.whole(steps) > MARGIN * plain.whole(steps):
        found = plain
    return found.execution, trials


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
