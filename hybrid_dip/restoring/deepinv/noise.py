"""What a noise model of DeepInverse says of y: its likelihood, on the scale on which we have one.

    E(expected(A x); given(gain y))

Some models become one of ours by a function of both sides. The photons that pass through a body, exp(-mu A x), are
Poisson-distributed, for example, where y is minus their logarithm.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_dip.contracts import Fidelity
from hybrid_dip.errors import SettingsError, warn
from hybrid_dip.problem import fidelity


def same(x: Tensor) -> Tensor:
    """Return x itself."""
    return x


@dataclass(frozen=True)
class Likelihood:
    """E, and the scale on which it is E.

    Attributes:
        fidelity: E.
        sigma: Standard deviation of Gaussian noise, in units of y; None where unknown or not Gaussian.
        gain: What y is multiplied by to be in units of A x, such as that of counted photons.
        given: Function of gain y.
        expected: Function of A x.
        scales: Whether both sides may be divided by one number, and E has its minimum at the same x.
        needs_positive: Whether A x must be above 0, and the fit stays far from y where a network may begin below.
    """

    fidelity: Fidelity
    sigma: float | None = None
    gain: float = 1.0
    given: Callable[[Tensor], Tensor] = same
    expected: Callable[[Tensor], Tensor] = same
    scales: bool = True
    needs_positive: bool = False


Level = Callable[[str], float]
"""Name of a level -> its value for one image of a batch."""


def _gaussian(level: Level) -> Likelihood:
    return Likelihood(fidelity.gaussian, level("sigma"))


def _poisson(level: Level) -> Likelihood:
    return Likelihood(fidelity.poisson, gain=1.0 if level("normalize") else level("gain"), needs_positive=True)


def _poisson_gaussian(level: Level) -> Likelihood:
    """The shifted Poisson model (Snyder, Hammoud & White 1993): mean and variance are right."""
    gain, sigma = level("gain"), level("sigma")
    if gain == 0:
        return Likelihood(fidelity.gaussian, sigma)
    shift = sigma**2 / gain

    def shifted(x: Tensor) -> Tensor:
        return x + shift

    return Likelihood(fidelity.poisson, given=shifted, expected=shifted, needs_positive=True)


def _log_poisson(level: Level) -> Likelihood:
    mu = level("mu")

    def passed(x: Tensor) -> Tensor:
        return torch.exp(-mu * x)

    return Likelihood(fidelity.poisson, given=passed, expected=passed, scales=False)


READERS: dict[str, Callable[[Level], Likelihood]] = {
    "GaussianNoise": _gaussian,
    "UniformGaussianNoise": lambda level: Likelihood(fidelity.gaussian),
    "ZeroNoise": lambda level: Likelihood(fidelity.gaussian),
    "PoissonNoise": _poisson,
    "PoissonGaussianNoise": _poisson_gaussian,
    "LogPoissonNoise": _log_poisson,
    "GammaNoise": lambda level: Likelihood(fidelity.speckle, needs_positive=True),
    "FisherTippettNoise": lambda level: Likelihood(fidelity.speckle, given=torch.exp, expected=torch.exp, scales=False),
    "SaltPepperNoise": lambda level: Likelihood(fidelity.l1),
    "LaplaceNoise": lambda level: Likelihood(fidelity.l1),
}
"""Class of deepinv -> its likelihood. ZeroNoise is also what stands where nobody said what the noise is."""


def likelihood_of(noise: object, index: int = 0, count: int = 1) -> Likelihood:
    """Find the likelihood of a noise model.

    For one that is not in :data:`READERS` it is that of Gaussian noise of an unknown level, and a warning says so.

    Args:
        noise: A ``deepinv.physics.NoiseModel``, or what else a physics has for one; None where it has none.
        index: Which image of a batch; a level may be one number or one for each image.
        count: Number of images in the batch.

    Returns:
        The likelihood.

    Raises:
        SettingsError: A level is neither.
    """

    def level(name: str) -> float:
        values = torch.as_tensor(getattr(noise, name)).flatten()
        if len(values) not in (1, count):
            raise SettingsError(
                f"The {name} of deepinv's {type(noise).__name__} must be one number, or one for each of {count} images, "
                f"got {len(values)}."
            )
        return float(values[index if len(values) > 1 else 0])

    if noise is None:
        return Likelihood(fidelity.gaussian)
    for kind in type(noise).__mro__:
        if kind.__name__ in READERS:
            return READERS[kind.__name__](level)
    warn(f"deepinv's {type(noise).__name__} has no likelihood here: least squares is taken, as for Gaussian noise.")
    return Likelihood(fidelity.gaussian)


def join(found: list[Likelihood]) -> tuple[Fidelity, float | None, list[float]]:
    """One likelihood for several measurements of one image.

    Where all levels of Gaussian noise are known, each measurement is divided by a number, so that the levels are one.

    Args:
        found: The likelihood of each measurement.

    Returns:
        E, its level, and for each measurement the number to divide it by.
    """
    levels = [one.sigma or 0.0 for one in found]
    if all(levels):
        return fidelity.gaussian, min(levels), [level / min(levels) for level in levels]
    kinds = {(one.fidelity, one.sigma) for one in found}
    if len(kinds) == 1:
        return *kinds.pop(), [1.0] * len(found)
    warn("The stacked measurements differ in their kind of noise, or some levels are unknown: least squares, all alike.")
    return fidelity.gaussian, None, [1.0] * len(found)
