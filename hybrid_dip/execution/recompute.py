"""Less memory for more time: activations that are computed again on the way back instead of being kept.

Gradient checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"). A network is cut into parts, each a
convolution and what follows it in its ``nn.Sequential``; of a part only the input is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.checkpoint import checkpoint

Part = Sequence[nn.Module]
"""Layers that follow each other."""
RunPart = Callable[[Callable[[Tensor], Tensor], Part, Tensor], Tensor]
"""(what a part does, its layers, its input) -> its output."""


def run_in_parts(network: nn.Module, run: RunPart) -> nn.Module:
    """Let a function run the parts of a network.

    Args:
        network: Changed in place: each ``nn.Sequential`` with a convolution directly in it hands its parts to ``run``. What is
            in no such container is run as it is.
        run: Runs a part, such as :func:`run_again`.

    Returns:
        The network.
    """
    for module in network.modules():
        if _has_parts(module):
            assert isinstance(module, nn.Sequential)
            vars(module)["forward"] = _divide(module, run)
    return network


def run_again(does: Callable[[Tensor], Tensor], part: Part, x: Tensor) -> Tensor:
    """Run a part, and again on the way back.

    Args:
        does: What the part does.
        part: Its layers.
        x: Its input, which is kept.

    Returns:
        Its output.
    """
    output: Tensor = checkpoint(does, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _leave_statistics(part)))
    return output


def _has_parts(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and any(isinstance(layer, _ConvNd) for layer in module)


def _divide(module: nn.Sequential, run: RunPart) -> Callable[[Tensor], Tensor]:
    parts: list[list[nn.Module]] = [[]]
    for layer in module:
        if any(map(_has_parts, layer.modules())):  # it has parts of its own, which are not to be computed a third time
            parts += [[layer], []]
        elif isinstance(layer, _ConvNd) and any(isinstance(one, _ConvNd) for one in parts[-1]):
            parts.append([layer])
        else:
            parts[-1].append(layer)

    def forward(x: Tensor) -> Tensor:
        for part in parts:
            # An activation in place must not change an input that is kept.
            first = next((i for i, layer in enumerate(part) if not getattr(layer, "inplace", False)), len(part))
            x, rest = _chain(part[:first])(x), part[first:]
            if not rest:
                continue
            x = rest[0](x) if any(map(_has_parts, rest[0].modules())) else run(_chain(rest), rest, x)
        return x

    return forward


def _chain(layers: Part) -> Callable[[Tensor], Tensor]:
    def does(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return does


@contextmanager
def _leave_statistics(part: Part) -> Iterator[None]:
    """Inside, batch norm leaves its running statistics alone, for it has counted these maps before."""
    norms = [
        layer
        for top in part
        for layer in top.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
