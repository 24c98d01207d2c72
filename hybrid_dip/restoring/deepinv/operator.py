"""A of a deepinv physics, from a real image (1, C, H, W) to one real tensor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybrid_dip.problem.operators import locality_of
from hybrid_dip.restoring.deepinv.layout import Layout, Units, parts_of


class Noiseless(nn.Module):
    """A x of a deepinv physics, as local as the physics says. The physics itself adds noise when it is called.

    Args:
        physics: The physics.
        layout: What its image is.
        expected: What is expected of y where the physics measures this: its parts, each (1, ...), as one real tensor.
        place: Which image of how many in a batch, where each is measured by parameters of its own.
        units: What the values of a real image are worth.
    """

    def __init__(
        self,
        physics: nn.Module,
        layout: Layout,
        expected: Callable[[list[Tensor]], Tensor],
        place: tuple[int, int],
        units: Units,
    ):
        super().__init__()
        self.physics, self.layout, self.expected, self.place, self.units = physics, layout, expected, place, units
        self.locality = locality_of(physics) if layout.plain else None

    def image(self, x: Tensor) -> Tensor:
        """Make the image of the physics, (1, C, ..., H, W) in its units, of a real one, (1, C', H, W)."""
        return self.layout.image(self.units.of(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return what is expected of y for a real image (1, C', H, W)."""
        index, count = self.place
        image = self.image(x)
        measured: Tensor | list[Tensor] = self.physics.A(image.expand(count, *image.shape[1:]))  # type: ignore[operator]
        return self.expected([part[index : index + 1] for part in parts_of(measured)])


@dataclass(frozen=True)
class Seen:
    """One real tensor of the parts of a measurement: each on the scale of its likelihood, in a unit."""

    scales: Sequence[Callable[[Tensor], Tensor]]
    units: Sequence[float]

    def __call__(self, parts: Sequence[Tensor]) -> Tensor:
        """Return it; more than one part are put in one row."""
        real = [(torch.view_as_real(part) if part.is_complex() else part).float() for part in parts]
        found = [scale(part) / unit for scale, part, unit in zip(self.scales, real, self.units, strict=True)]
        return found[0] if len(found) == 1 else torch.cat([part.flatten(1) for part in found], 1)
