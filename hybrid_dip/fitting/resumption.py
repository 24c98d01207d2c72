"""A fit that is saved now and then, and goes on from where it was saved."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from hybrid_dip.errors import FitError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.course import Course


@runtime_checkable
class Stateful(Protocol):
    """What remembers something from step to step."""

    def state_dict(self) -> Mapping[str, Any]:
        """Everything that it remembers."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from :meth:`state_dict`."""
        ...


class Resumption:
    """Saves all that a fit is made of, and puts it back.

    Args:
        checkpoint: Where it is saved; with None nothing is.
        course: How far the fit is.
        parts: Name -> what else remembers something.
        device: Device of the fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        course: Course,
        parts: Mapping[str, Stateful],
        device: torch.device,
    ):
        self.checkpoint, self.course, self.parts = checkpoint, course, parts
        self.device = device
        self._saved_at = 0

    def load(self) -> None:
        """Go on from what was saved, where something was.

        Raises:
            FitError: The file cannot be read, or is of another fit.
        """
        state = None if self.checkpoint is None else self.checkpoint.load(self.device)
        if self.checkpoint is None or state is None:
            return
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError, ValueError) as error:
            detail = str(error).splitlines()[0].rstrip(".:")
            raise FitError(f"The checkpoint {self.checkpoint.path} is of another fit ({detail}); remove it.") from None
        self.course.load_state_dict(state)
        self._saved_at = self.course.steps

    def save(self) -> None:
        """Save everything as it is between two steps."""
        if self.checkpoint is not None:
            parts = {name: part.state_dict() for name, part in self.parts.items()}
            self.checkpoint.save({**parts, **self.course.state_dict()})
            self._saved_at = self.course.steps

    def save_if_due(self) -> None:
        """Save where enough steps have passed since the last time."""
        if self.checkpoint is not None and self.checkpoint.due(self.course.steps - self._saved_at):
            self.save()
