"""The state of everything that a fit may draw from: read, put back, and left as it was."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


def random_state(device: torch.device, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
    """The states of everything that a fit may draw from: the CPU, the device, and a generator.

    Args:
        device: Device of the fit.
        generator: Generator of the jitter, or None for torch's global one.

    Returns:
        Name -> state, on the CPU.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    if generator is not None:
        states["generator"] = generator.get_state()
    return states


def set_random_state(
    states: Mapping[str, torch.Tensor], device: torch.device, generator: torch.Generator | None = None
) -> None:
    """Put states from :func:`random_state` back.

    Args:
        states: Name -> state.
        device: Device of the fit.
        generator: Generator of the jitter, or None for torch's global one.
    """
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"])
    if "generator" in states and generator is not None:
        generator.set_state(states["generator"])


@contextmanager
def forked_random_state(device: torch.device) -> Iterator[None]:
    """Inside, draw what you like: afterwards the global random states are what they were before.

    Args:
        device: The device that is used inside, beside the CPU.

    Yields:
        Nothing.
    """
    before = random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)
