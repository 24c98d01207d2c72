"""Networks that many users share: loaded once, and copied for another device or type."""

import copy
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from hybrid_dip.fitting.random_state import Draws

Module = TypeVar("Module", bound=nn.Module)
Network = TypeVar("Network")
Given = ParamSpec("Given")


def load_once(load: Callable[Given, Network]) -> Callable[Given, Network]:
    """Load each network once, on the CPU, and leave the random state as it is.

    Random weights are drawn before the learned ones are read. What a fit draws must not depend on whether a network was loaded
    just before.

    Args:
        load: Makes a network.

    Returns:
        The same function, with a memory.
    """

    @lru_cache(maxsize=4)
    @wraps(load)
    def once(*given: Given.args, **options: Given.kwargs) -> Network:
        with Draws(), torch.device("cpu"):
            return load(*given, **options)

    return once  # type: ignore[return-value]


@lru_cache(maxsize=8)
def _copy(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(network).to(device, dtype)


def copy_for(network: Module, x: Tensor) -> Module:
    """A network on the device and of the type of x.

    Args:
        network: A frozen network on the CPU, in single precision.
        x: An image.

    Returns:
        The network itself, or a copy, which is kept.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return network
    placed: Module = _copy(network, x.device, x.dtype)  # type: ignore[assignment]
    return placed
