"""Samples of theta from its posterior, instead of one theta: the mean image, and how far the samples differ.

    p(theta | y)  ~  exp(-U),   U(theta) = n / (2 sigma^2) (E(A f_theta(z); y) + sum_k lambda_k R_k) + precision |theta|^2 / 2

for Gaussian noise of deviation sigma and n entries of y, over which E is a mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Step, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.optimizers import langevin
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.regularisers.terms import SomeTerms

DEVIATION = "deviation"
"""Among a fit's extras: the standard deviation of f_theta(z) over the samples of theta, (1, C, H, W)."""


class Samples:
    """An observer that keeps the mean of the network's outputs, and the deviation of f_theta(z) (Welford 1962).

    Jitter, which is noise added to z, would count as a spread of theta. Where a fit has any, the network is evaluated once more
    for the deviation, at z itself.

    Args:
        first: Step from which outputs count.
        every: Steps between two outputs that count.
        still: f_theta(z) without jitter, at the present theta; None where outputs have no jitter.
    """

    def __init__(self, first: int, every: int, still: Callable[[], Tensor] | None = None):
        self.first, self.every, self.still = first, every, still
        self.count = 0
        self.mean = self.centre = self.squares = torch.zeros(())

    @torch.no_grad()
    def __call__(self, step: Step) -> None:
        """Take in an output that counts."""
        if step.index < self.first or (step.index - self.first) % self.every:
            return
        self.count += 1
        self.mean = self.mean + (step.image - self.mean) / self.count
        sample = step.image
        if self.still is not None:
            evaluated = self.still()
            # A theta that is not finite is given up by the fit, whose image is then that of the step before.
            sample = torch.where(torch.isfinite(evaluated).all(), evaluated, step.image)
        apart = sample - self.centre
        self.centre = self.centre + apart / self.count
        self.squares = self.squares + apart * (sample - self.centre)

    @property
    def deviation(self) -> Tensor:
        """Deviation of f_theta(z) so far, (1, C, H, W); zero for a single sample."""
        return (self.squares / max(1, self.count - 1)).sqrt()

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"count": self.count, "mean": self.mean, "centre": self.centre, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.count, self.mean, self.centre, self.squares = (state[name] for name in ("count", "mean", "centre", "squares"))


def _check_samples(burn_in: float, every: int) -> None:
    if not 0 <= burn_in < 1 or every < 1:
        raise SettingsError(
            f"Samples need a burn-in, a share of the steps in [0, 1), and every >= 1; got {burn_in} and {every}."
        )


def _sample(
    burn_in: float, every: int, network: nn.Module, latent: Tensor, task: Task, terms: Any, options: dict[str, Any]
) -> Fit:
    """Fit, and keep the mean of the outputs after the burn-in as the image."""
    first = int(burn_in * options.get("max_steps", 1000))
    samples = Samples(first, every, _still(network, latent, options) if options.get("jitter") else None)
    observers = [*options.pop("observers", ()), samples]
    result = fit(network, latent, task, terms, observers=observers, **options)
    if samples.count == 0:  # ended before
        return result
    note = f"The image is the mean of {samples.count} samples, from step {first} on."
    extras = {**result.extras, DEVIATION: samples.deviation, "samples": samples.count}
    return replace(result, image=samples.mean, kept_at=result.steps - 1, notes=(*result.notes, note), extras=extras)


def _still(network: nn.Module, latent: Tensor, options: Mapping[str, Any]) -> Callable[[], Tensor]:
    """f_theta(z), without a trace on the network's running statistics."""
    if options.get("optimise", "network") != "network":
        raise SettingsError("The deviation of samples needs a latent that stays: give jitter 0, or optimise the network only.")

    def still() -> Tensor:
        spare = {name: buffer.clone() for name, buffer in network.named_buffers()}
        image: Tensor = torch.func.functional_call(network, spare, (latent,))
        return image

    return still


@dataclass(frozen=True)
class Averaging:
    """The mean of the outputs after a burn-in and their deviation, with any optimiser.

    Attributes:
        burn_in: Share of the steps that do not count.
        every: Steps between two outputs that count.
    """

    burn_in: float = 0.35
    every: int = 50

    def __post_init__(self) -> None:
        _check_samples(self.burn_in, self.every)

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are."""
        return _sample(self.burn_in, self.every, network, latent, task, terms, options)


@dataclass(frozen=True)
class Langevin:
    """The unadjusted Langevin algorithm (Roberts & Tweedie 1996) on all parameters, at the scale of the true likelihood.

        theta <- theta - h grad U(theta) + sqrt(2 h) xi,   xi standard normal

    For a Gaussian posterior of precision Lambda it settles at the covariance Lambda^-1 (I - h Lambda / 2)^-1: h has to be well
    below 2 / |Lambda|, and the smaller it is, the smaller the error. For a network |Lambda| is not known; see the deviation.

    Attributes:
        step: h, above 0.
        precision: Precision of the Gaussian prior on theta, at least 0.
        burn_in: Share of the steps that do not count.
        every: Steps between two samples.
    """

    step: float = 1e-7
    precision: float = 0.0
    burn_in: float = 0.5
    every: int = 1

    def __post_init__(self) -> None:
        _check_samples(self.burn_in, self.every)
        if not 0 < self.step < float("inf") or not 0 <= self.precision < float("inf"):
            raise SettingsError(
                f"Langevin needs a step above 0 and a precision of at least 0, got {self.step} and {self.precision}."
            )

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Sample, with the arguments of :func:`hybrid_dip.fitting.fit.fit`; its optimiser is replaced.

        Raises:
            SettingsError: The noise is not Gaussian of a known level.
        """
        if not task.noise_sigma or task.fidelity is not gaussian:
            raise SettingsError("Langevin needs the level of Gaussian noise, which this task does not have: give sigma.")
        scale = task.observation.numel() / (2 * task.noise_sigma**2)
        options["optimizer"] = langevin(self.step, scale, self.precision)
        return _sample(self.burn_in, self.every, network, latent, task, terms, options)
