"""Regularisers that look at the current estimate every few steps: for similar patches, local weights, a denoised image.

What they saw is constant in the gradient until they look again, and part of a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.proximal import descent
from hybrid_dip.regularisers.terms import Regulariser, Weighable

Memory = Mapping[str, Tensor]


class WithMemory(Weighable, ABC):
    """A regulariser in two parts: what it remembers of an estimate, and its energy given that.

    Outside of a fit it looks at every image; in a fit every ``every`` steps.

    Attributes:
        every: Steps between two looks at the estimate.
    """

    every: int

    @abstractmethod
    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """Look at the current estimate.

        Args:
            x: The estimate, (1, C, H, W), without a graph.
            step: Index of the step.
            memory: What was remembered before; empty at the first look.
            task: The task to fit; None outside of a fit.

        Returns:
            What is remembered until the next look.
        """

    @abstractmethod
    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The energy of x, (1, C, H, W), given what is remembered, as ()."""

    def nearest(self, v: Tensor, gamma: float, memory: Memory) -> Tensor:
        """argmin_x |x - v|^2 / 2 + gamma R(x), given what is remembered; by descent where a regulariser knows no better."""
        return descent(lambda x: self.energy(x, memory), v, gamma)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energy of x, (1, C, H, W), given what is remembered of x itself, as ()."""
        return Bound(self)(x)

    def bind(self, task: Task) -> Regulariser:
        """Begin a fit, with a memory of its own."""
        return Bound(self, task)


@dataclass(eq=False)
class Bound:
    """A regulariser with memory, within one fit.

    Attributes:
        regulariser: The regulariser.
        task: The task to fit; None outside of a fit.
        memory: What it remembers; empty before the first look.
    """

    regulariser: WithMemory
    task: Task | None = None
    memory: Memory = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energy of x, (1, C, H, W), as ()."""
        if not self.memory:
            self._look(x.detach(), 0)
        return self.regulariser.energy(x, self.memory)

    def refresh(self, step: int, x: Tensor) -> None:
        """Look at the estimate where it is time to."""
        if not self.memory or step % self.regulariser.every == 0:
            self._look(x, step)

    def prox(self, v: Tensor, gamma: float) -> Tensor:
        """argmin_x |x - v|^2 / 2 + gamma R(x), given what is remembered."""
        if not self.memory:
            self._look(v, 0)
        return self.regulariser.nearest(v, gamma, self.memory)

    def _look(self, x: Tensor, step: int) -> None:
        self.memory = self.regulariser.remember(x, step, self.memory, self.task)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered."""
        return {"memory": dict(self.memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.memory = dict(state["memory"])


def check_every(name: str, every: int) -> None:
    """Refuse a number of steps below 1.

    Args:
        name: Name of the regulariser, for the message.
        every: Steps between two looks.

    Raises:
        SettingsError: The number is below 1.
    """
    if every < 1:
        raise SettingsError(f"'{name}' looks at the estimate every k steps, k at least 1; got every={every}.")
