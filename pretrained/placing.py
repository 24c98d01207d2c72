"""Networks that many share, where they are needed: a copy for another device or type, the one that others use left alone."""

import copy
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
Loaded = TypeVar("Loaded")
Given = ParamSpec("Given")


def loaded_once(load: Callable[Given, Loaded]) -> Callable[Given, Loaded]:
    """Load each network once, on the CPU, and leave the random state as it is: what a fit draws must not depend on whether a
    network, whose weights are drawn before they are read, was loaded just then.

    Args:
        load: Makes a network.

    Returns:
        The same function, with a memory.
    """

    @lru_cache(maxsize=4)
    @wraps(load)
    def loading(*given: Given.args, **options: Given.kwargs) -> Loaded:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return load(*given, **options)

    return loading  # type: ignore[return-value]


@lru_cache(maxsize=8)
def _copied(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(network).to(device, dtype)


def beside(network: Module, x: Tensor) -> Module:
    """A network where x is and of its type.

    Args:
        network: On the CPU in single precision, frozen.
        x: Anywhere.

    Returns:
        The network itself, or a copy that is kept.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return network
    found: Module = _copied(network, x.device, x.dtype)  # type: ignore[assignment]
    return found
