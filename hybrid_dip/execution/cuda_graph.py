"""A network's kernels recorded once and replayed: CUDA graphs.

A step of a small network is some hundred short kernels, and a GPU waits for Python to launch each of them. Recorded as a graph
they are launched in one call. A graph works in memory of its own: the input is copied into it, activations stay in it until
the way back, and the next replay overwrites them. So a network that is replayed is evaluated once, then differentiated once,
then evaluated again; outputs are copied out. Evaluations without gradients are not replayed.
"""

import gc
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Forward = Callable[[Tensor], Tensor]


def record(network: nn.Module) -> nn.Module:
    """Let a network be recorded, forward and back, at its first evaluation with gradients, and replayed from then on.

    Args:
        network: On a CUDA device; changed in place.

    Returns:
        The network. Its parameters and buffers are what the graph works on: they may be changed in place, not replaced.
    """
    forward: Forward = network.forward
    network.forward = Replayed(forward, lambda z: _capture(network, forward, z))
    return network


def compile_and_record(network: nn.Module) -> nn.Module:
    """Let torch compile a network and record what it has made.

    Args:
        network: On a CUDA device; changed in place.

    Returns:
        The network.
    """
    forward: Forward = network.forward
    network.forward = Replayed(forward, lambda z: _compile(forward))
    return network


class Replayed:
    """The forward of a network. At its first evaluation with gradients something faster is made of it, which then does them.

    Args:
        forward: The network's own, which does the evaluations without gradients.
        make: Its input -> what does the evaluations with gradients.
    """

    def __init__(self, forward: Forward, make: Callable[[Tensor], Forward]):
        self.forward, self.make = forward, make
        self.made: Forward | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """Return a copy of the output, which the next replay does not overwrite."""
        if not torch.is_grad_enabled():
            return self.forward(z)
        if self.made is None:
            self.made = self.make(z)
        return self.made(z).clone()


def _compile(forward: Forward) -> Forward:
    made: Forward = torch.compile(forward, mode="reduce-overhead")

    def call(z: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return made(z)

    return call


def _capture(network: nn.Module, forward: Forward, z: Tensor) -> Forward:
    gc.collect()  # an earlier graph, whose memory nothing else gives back, hangs in a cycle of references
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    evaluate, parameters = _as_function(network, forward)
    # What is recorded has leaves of its own, in the same memory: where a leaf's gradients are accumulated belongs to a stream,
    # and the recording's is another one than the fit's.
    twins = [parameter.detach().requires_grad_(parameter.requires_grad) for parameter in parameters]
    with torch.cuda.device(z.device), warnings.catch_warnings():
        # That the twins' leaves were met on two streams, while nothing was accumulated in them.
        warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream")
        graph: Any = torch.cuda.make_graphed_callables(evaluate, (z.detach().clone(), *twins), allow_unused_input=True)
    with torch.no_grad():  # batch norm has counted the steps that warm up
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])

    def replay(z: Tensor) -> Tensor:
        output: Tensor = graph(z, *parameters)
        return output

    return replay


def _as_function(network: nn.Module, forward: Forward) -> tuple[Callable[..., Tensor], list[nn.Parameter]]:
    """The network as a function of its input and its parameters, and these."""
    named = dict(network.named_parameters())

    def evaluate(z: Tensor, *given: Tensor) -> Tensor:
        replayed: Any = network.forward
        network.forward = forward
        try:
            output: Tensor = functional_call(network, dict(zip(named, given, strict=True)), (z,))
        finally:
            network.forward = replayed
        return output

    return evaluate, list(named.values())
