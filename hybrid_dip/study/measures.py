"""What a study measures of a finished fit: metrics by name, of which image, and the oracle's best on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from hybrid_dip import spec
from hybrid_dip.catalogue import catalogue

RAW = "_raw"
"""A metric's name with this ending is taken of the network's output, before known pixels are pasted back and values clamped."""

BEST = "psnr_best"
"""The best PSNR of the finished image at any logged step: an oracle, what no stopping rule can know."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a fit has to be measured by.

    Attributes:
        image: Finished, (1, C, H, W).
        raw: The network's output, (1, C, H, W).
        reference: The clean image.
        along: PSNR of the finished image at each logged step.
    """

    image: Tensor
    raw: Tensor
    reference: Tensor
    along: Sequence[float]


@dataclass(frozen=True)
class Measure:
    """One column of the results.

    Attributes:
        column: Its name.
        of: Outputs -> value.
    """

    column: str
    of: Callable[[Outputs], float]


def measure(text: str) -> Measure:
    """A metric as a study file names it.

    Args:
        text: A name of ``hybrid-dip list metrics`` or a SPEC, with "_raw" where it is taken of the network's output; or
            "psnr_best", the oracle.

    Returns:
        The measure.

    Raises:
        SettingsError: An unknown name.
    """
    if text == BEST:
        return Measure(BEST, lambda outputs: max(outputs.along))
    plain = text.removesuffix(RAW)
    function: Callable[[Tensor, Tensor], float] = spec.build(plain, "metrics", catalogue())
    label = spec.parse(plain).label
    if plain != text:
        return Measure(label + RAW, lambda outputs: float(function(outputs.raw, outputs.reference)))
    return Measure(label, lambda outputs: float(function(outputs.image, outputs.reference)))
