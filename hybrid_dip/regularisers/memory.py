"""Regularisers that look something up in the current estimate (similar patches, local weights, a denoised image).

What they found is fixed between two looks: it is constant in the gradient, and part of a checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.proximal import descent
from hybrid_dip.regularisers.terms import Weighable

Memory = dict[str, Tensor]


class Prior(Protocol):
    """A regulariser in two parts, for :class:`Remembering`."""

    @property
    def every(self) -> int:
        """Steps between two looks."""
        ...

    def remember(self, x: Tensor, step: int, memory: Mapping[str, Tensor]) -> Memory:
        """Look at the current estimate, (1, C, H, W) without a graph; ``memory`` is what was found before, or empty."""
        ...

    def energy(self, x: Tensor, memory: Mapping[str, Tensor]) -> Tensor:
        """The energy of x given what was found, as ()."""
        ...


@dataclass(eq=False)
class Remembering:
    """A :class:`Prior` within one fit, with its memory."""

    prior: Prior
    memory: Memory = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energy of x, (1, C, H, W), as ()."""
        if not self.memory:
            self.memory = self.prior.remember(x.detach(), 0, {})
        return self.prior.energy(x, self.memory)

    def refresh(self, step: int, x: Tensor) -> None:
        """Look at the current estimate where it is time to."""
        if not self.memory or step % self.prior.every == 0:
            self.memory = self.prior.remember(x, step, self.memory)

    def prox(self, v: Tensor, gamma: float) -> Tensor:
        """argmin_x |x - v|^2 / 2 + gamma R(x), given what was found: the prior's own where it has one, else by descent."""
        if not self.memory:
            self.memory = self.prior.remember(v, 0, {})
        own = getattr(self.prior, "nearest", None)
        return own(v, gamma, self.memory) if callable(own) else descent(self, v, gamma)

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        return {"memory": dict(self.memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.memory = dict(state["memory"])


class Looking(Weighable):
    """Makes a :class:`Prior` a regulariser. By itself it looks at every image anew; in a fit every ``every`` steps."""

    def __call__(self: Prior, x: Tensor) -> Tensor:
        """Return the energy of x, (1, C, H, W), with what is found in x itself, as ()."""
        return self.energy(x, self.remember(x.detach(), 0, {}))

    def bind(self: Prior, task: Task) -> Remembering:
        """Begin a fit: a memory of its own."""
        return Remembering(self)


def check_every(name: str, every: int) -> None:
    """Refuse a number of steps below 1.

    Args:
        name: Of the regulariser.
        every: Steps between two looks.

    Raises:
        SettingsError: It is below 1.
    """
    if every < 1:
        raise SettingsError(f"'{name}' looks at the estimate every so many steps, at least 1; got every={every}.")
