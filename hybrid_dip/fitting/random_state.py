"""Random numbers of a fit's own. Torch's global random state belongs to the caller, and to all threads of the process."""

import threading
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_TURN = threading.Lock()
"""Held while an operation that takes no generator borrows torch's global one."""


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A source of random numbers, one generator for each kind of device.

    Within ``with draws:`` all code of this thread draws from it, whether it knows of it or not: each of torch's operations that
    draws is given the generator. This slows down every other operation, so a fit is inside only where something draws.

    Args:
        seed: Seed of the generators.

    Attributes:
        drew: Whether anything inside has drawn from it.
    """

    def __init__(self, seed: int = 0):
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed, self.drew = seed, False
        self.generators: dict[str, torch.Generator] = {}

    @classmethod
    def around(cls, generator: torch.Generator) -> Self:
        """A source whose generator on one kind of device is given; it is advanced in place."""
        draws = cls(generator.initial_seed())
        draws.generators[generator.device.type] = generator
        return draws

    def on(self, device: torch.device) -> torch.Generator:
        """The generator on a device."""
        if device.type not in self.generators:
            self.generators[device.type] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device.type]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags or given.get("generator") is not None:
            return func(*args, **given)
        device = given.get("device") or next((one.device for one in args if isinstance(one, Tensor)), torch.device("cpu"))
        if device.type == "meta":  # nothing is drawn there
            return func(*args, **given)
        self.drew = True
        takes = _with_generator(func)
        if takes is not None:
            return takes(*args, **given, generator=self.on(device))
        with _TURN:
            before = global_state(device)
            set_global_state(device, self.on(device).get_state())
            try:
                return func(*args, **given)
            finally:
                self.on(device).set_state(global_state(device))
                set_global_state(device, before)

    def state_dict(self) -> dict[str, Tensor]:
        """Kind of device -> state of the generator there, on the CPU."""
        return {kind: generator.get_state() for kind, generator in self.generators.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        for kind, one in state.items():
            self.on(torch.device(kind)).set_state(one)


def _with_generator(func: Any) -> Any:
    """The variant of an operation that takes a generator, or None."""
    name = func._overloadname
    other = getattr(func.overloadpacket, "generator" if name == "default" else f"{name}_generator", None)
    for one in (func, other):
        if one is not None and any(argument.name == "generator" for argument in one._schema.arguments):
            return one
    return None


def copy_of_global(device: torch.device) -> torch.Generator:
    """A generator that draws what torch's global one on a device would draw next."""
    generator = torch.Generator(device)
    generator.set_state(global_state(device))
    return generator


def global_state(device: torch.device) -> Tensor:
    """The state of torch's global generator on a device, on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_global_state(device: torch.device, state: Tensor) -> None:
    """Put a state from :func:`global_state` back."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
