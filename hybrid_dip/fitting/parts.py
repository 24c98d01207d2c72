"""One part of the objective, the fidelity or a term, may be a user's code: its faults are said in a sentence that names it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.errors import FitError, blame_errors_on


@dataclass(frozen=True)
class Occasion:
    """When the objective is evaluated; as text, "at step 3".

    Attributes:
        step: Index of the step.
        again: A line search has evaluated this step before: what happens once in a step does not happen now.
    """

    step: int
    again: bool = False

    def __str__(self) -> str:
        return f"at step {self.step}"

    @property
    def first(self) -> bool:
        """Whether this is the first evaluation of a fit, where all values are looked at (which waits for the device)."""
        return self.step == 0 and not self.again


def check_value(name: str, value: Any, occasion: Occasion, *, of: str = "the image") -> None:
    """Refuse what is no value of a part. Its form is checked on each occasion, which costs nothing; its number at the first.

    Args:
        name: What the part is called in the sentence.
        value: What it returned.
        occasion: When.
        of: What its value has to depend on.

    Raises:
        FitError: No scalar tensor, cut off from what it has to depend on, or not finite.
    """
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise FitError(f"{name} must return a scalar tensor of shape (), got {got}.")
    if not value.requires_grad:
        raise _cut_off(name, of)
    if occasion.first and not math.isfinite(float(value.detach())):
        raise FitError(f"{name} is {float(value.detach())} at the first step; a finite number was expected.")


def gradients(
    name: str, value: Tensor, leaves: Sequence[Tensor], occasion: Occasion, *, of: str = "the image", keep_graph: bool = False
) -> list[Tensor]:
    """The gradient of a part's value.

    Args:
        name: What the part is called in a sentence.
        value: Value of the part, ().
        leaves: Tensors that the gradient is taken with respect to.
        occasion: When.
        of: What the leaves are, in a sentence.
        keep_graph: Whether the graph is needed again.

    Returns:
        One tensor for each leaf; zero for a leaf that the value does not depend on.

    Raises:
        FitError: The gradient cannot be taken, depends on no leaf, or is not finite on the first occasion.
    """
    with blame_errors_on(name, f"{occasion}, in its gradient"):
        taken = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=keep_graph or None)
    if all(part is None for part in taken):
        raise _cut_off(name, of)
    parts = [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(leaves, taken, strict=True)]
    if occasion.first and not all(bool(torch.isfinite(part).all()) for part in parts):
        raise FitError(
            f"{name} has a gradient that is not finite at the first step, though its value is {float(value.detach()):g}; a "
            "finite one was expected: a root or a quotient needs a small constant where it may meet zero."
        )
    return parts


def _cut_off(name: str, of: str) -> FitError:
    return FitError(f"{name} returns a tensor cut off from {of}: it has no gradient, so it could not act.")
