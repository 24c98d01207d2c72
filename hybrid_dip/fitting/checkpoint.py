"""Where a fit's state is written to, so that it can be killed at any moment and resumed to the same floats."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.errors import FitError, StorageError, check_kind, whole_number
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

    def __post_init__(self) -> None:
        check_kind("The file of a checkpoint", self.path, str | Path, "a path")
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "every", whole_number("every of a checkpoint", self.every))

    def due(self, steps: int) -> bool:
        """Whether a state should be written.

        Args:
            steps: Steps since the last one.
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
        except OSError as error:  # the reason alone, where it is ours
            reason = str(error.strerror or error)
            raise StorageError(f"The checkpoint {self.path} cannot be written: {reason}.") from None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Read the last state.

        Args:
            device: Device that its tensors are moved to; random states stay on the CPU.

        Returns:
            The state, or None where no file exists.

        Raises:
            FitError: The file exists but cannot be read.
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
