"""Where a fit's state is written to, so that it can be killed at any moment and resumed to the same floats."""

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.errors import FitError, StorageError
from hybrid_dip.images.atomic import write_bytes


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the state of one fit.

    Attributes:
        path: The file; a new state replaces the old one in one move.
        every: Steps between two states, at least 1; the loop rounds up to its next logged step.
    """

    path: Path
    every: int = 200

    def due(self, steps: int) -> bool:
        """Whether a state should be written.

        Args:
            steps: Since the last one.
        """
        return steps >= self.every

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state, whole or not at all.

        Raises:
            StorageError: It cannot be written, for instance because the disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, lambda handle: torch.save(dict(state), handle))
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise StorageError(f"The checkpoint {self.path} cannot be written: {reason}.") from None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state, or None where there is none.

        Args:
            device: Where its tensors go.

        Raises:
            FitError: The file is there but cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            # Random states must stay on the CPU, so everything is loaded there and the rest is moved.
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError, struct.error, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise FitError(f"The checkpoint {self.path} cannot be read ({reason}); remove it to start anew.") from None
        return {name: part if name == "random" else _moved(part, device) for name, part in state.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        # An optimiser places its own state, and wants its step counters left on the CPU.
        return {key: item if key == "stepper" else _moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value


def random_state(device: torch.device, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
    """The states of everything that a fit may draw from: the CPU, the device, and a generator.

    Args:
        device: Of the fit.
        generator: Of the jitter, where it has its own.

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
        device: Of the fit.
        generator: Of the jitter, where it has its own.
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
    """Leave the CPU's and the device's global random states as they were, whatever is drawn inside.

    Args:
        device: The one that is used inside, beside the CPU.

    Yields:
        Nothing.
    """
    before = random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)
