"""How a network is evaluated: its precision, and whether it is compiled, recorded as a CUDA graph, or recomputed.

Only the network is touched. What is optimised, the objective, its gradient at the image and the optimiser's moments stay in
single precision: in half precision the network's activations are rounded, not what is learnt.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest, warn
from hybrid_dip.execution import cuda_graph
from hybrid_dip.execution.allocator import scarce_memory
from hybrid_dip.execution.recompute import run_again, run_in_parts
from hybrid_dip.networks.convolution import drop_idle_biases

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS = get_args(Precision)
_TURN = threading.RLock()


@dataclass(frozen=True)
class Execution:
    """How a network is evaluated.

    Attributes:
        precision: "float32"; "tf32": the same numbers, multiplied with 10 bits of mantissa (CUDA only; elsewhere as float32);
            "bfloat16": activations and products in half precision, by autocast.
        compiled: By ``torch.compile``, which takes a while at the first step, and needs a C++ compiler (on CUDA, a C compiler).
        recomputed: Activations are computed again on the way back (:mod:`hybrid_dip.execution.recompute`): about two thirds
            of the memory for half as much time again. The result is the same. Without effect on a network that is compiled,
            where the compiler decides this, or recorded.
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

    def apply(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Let a network be evaluated like this. Its parameters and the names in its state stay what they are.

        Args:
            network: Changed in place.
            device: The device that it is on.

        Returns:
            The network.

        Raises:
            SettingsError: A CUDA graph elsewhere than on a CUDA device.
        """
        self.check(device)
        if self.recomputed and not (self.compiled or self.graphed):
            run_in_parts(network, run_again)
        if device.type == "cuda":
            drop_idle_biases(network)
            if self.precision != "float32":
                put_channels_last(network)  # the order in which tensor cores take maps
        if self.precision == "bfloat16":
            network.forward = _round_activations(network.forward, device.type)
        if self.compiled and self.graphed:
            cuda_graph.compile_and_record(network)
        elif self.compiled:
            network.compile()
        elif self.graphed:
            cuda_graph.record(network)
        return network

    def check(self, device: torch.device) -> None:
        """Refuse a device that cannot do it, and warn where it would change nothing.

        Args:
            device: Where the network is to be evaluated.

        Raises:
            SettingsError: A CUDA graph elsewhere than on a CUDA device.
        """
        if self.graphed and device.type != "cuda":
            raise SettingsError(f"A CUDA graph (--graph on) takes a CUDA device; this fit is on {device}.")
        if self.precision == "tf32" and device.type != "cuda":
            warn(f"--precision tf32 is for CUDA; on {device} it does nothing, as float32.")

    @contextmanager
    def global_settings(self, device: torch.device) -> Iterator[None]:
        """Inside, for a fit: how CUDA multiplies single-precision numbers and finds its kernels, and whether memory is scarce.

        CUDA's settings belong to the process, so threads take turns there.

        Args:
            device: Where the fit runs.

        Yields:
            Nothing.
        """
        with scarce_memory() if self.recomputed else nullcontext():
            if device.type != "cuda":
                yield
                return
            with _TURN, self._cuda_settings():
                yield

    @contextmanager
    def _cuda_settings(self) -> Iterator[None]:
        matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, convolution.allow_tf32, convolution.benchmark
        matmul.allow_tf32 = convolution.allow_tf32 = self.precision == "tf32"
        convolution.benchmark = True  # a fit repeats the same few convolutions, so trying all kernels of each pays
        try:
            yield
        finally:
            matmul.allow_tf32, convolution.allow_tf32, convolution.benchmark = before


PLAIN = Execution()
NOT_ALONE = (
    "A CUDA graph (--graph on) is of a plain fit of the network's parameters: not of a solver of its own, a latent that is "
    "optimised, or a regulariser that acts on the network."
)


def put_channels_last(network: nn.Module) -> nn.Module:
    """Let the channels of each pixel lie next to each other in memory; the result is the same up to rounding.

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


def _round_activations(forward: Callable[..., Tensor], device: str) -> Callable[..., Tensor]:
    def call(*given: Any) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            image = forward(*given)
        return image.float()

    return call
