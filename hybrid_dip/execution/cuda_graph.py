"""A network's kernels recorded once and replayed: CUDA graphs.

A step of a small network is some hundred short kernels, and a GPU waits for Python to launch each of them. Recorded as a
graph they are launched in one call. A graph works on memory of its own: the input is copied into it, activations stay in it
until the way back, and the next replay overwrites them. So a network that is replayed is evaluated once, then differentiated
once, and evaluated again; outputs are copied out. Evaluations without gradients are done as ever.
"""

import gc
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Forward = Callable[[Tensor], Tensor]


def recorded(network: nn.Module) -> nn.Module:
    """Record a network, forward and back, at its first evaluation with gradients, and replay it from then on.

    Args:
        network: On a CUDA device; changed in place.

    Returns:
        The network. Its parameters and buffers are what the graph works on: they may be changed in place, not replaced.
    """
    return _replayed(network, lambda forward, z: _record(network, forward, z))


def compiled(network: nn.Module) -> nn.Module:
    """Let torch compile a network and record what it has made.

    Args:
        network: On a CUDA device; changed in place.

    Returns:
        The network.
    """

    def make(forward: Forward, z: Tensor) -> Forward:
        made: Forward = torch.compile(forward, mode="reduce-overhead")

        def call(z: Tensor) -> Tensor:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return made(z)

        return call

    return _replayed(network, make)


def _replayed(network: nn.Module, make: Callable[[Forward, Tensor], Forward]) -> nn.Module:
    """Let what is made of the network's forward at its first evaluation do all those with gradients."""
    forward: Forward = network.forward
    made: Forward | None = None

    def call(z: Tensor) -> Tensor:
        nonlocal made
        if not torch.is_grad_enabled():
            return forward(z)
        if made is None:
            made = make(forward, z)
        return made(z).clone()

    network.forward = call
    return network


def _record(network: nn.Module, forward: Forward, z: Tensor) -> Forward:
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
        around: Any = network.forward
        network.forward = forward
        try:
            output: Tensor = functional_call(network, dict(zip(named, given, strict=True)), (z,))
        finally:
            network.forward = around
        return output

    return evaluate, list(named.values())
