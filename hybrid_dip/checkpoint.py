"""Where a fit's state is written to, so that it can be killed at any moment and resumed to the same floats."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.errors import FitError
from hybrid_dip.files import write_bytes


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the state of one fit.

    Attributes:
        path: The file; a new state replaces the old one in one move.
        every: Steps between two states, at least 1; the loop rounds up to its next logged step.
    """

    path: Path
    every: int = 200

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, lambda handle: torch.save(dict(state), handle))

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
        except (RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise FitError(f"The checkpoint {self.path} cannot be read ({reason}); remove it to start anew.") from None
        return {name: part if name == "random" else _moved(part, device) for name, part in state.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value


def random_state(device: torch.device, generator: torch.Generator | None) -> torch.Tensor:
    """The state of a generator, or of the device's global one."""
    if generator is not None:
        return generator.get_state()
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_random_state(state: torch.Tensor, device: torch.device, generator: torch.Generator | None) -> None:
    """Put a state from :func:`random_state` back."""
    if generator is not None:
        generator.set_state(state)
    elif device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
