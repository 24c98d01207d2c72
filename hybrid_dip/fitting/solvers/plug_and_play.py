"""Plug-and-play restoration: a denoiser and the observation in turn, no network fitted (Venkatakrishnan et al. 2013).

Half-quadratic splitting with falling noise levels, as in DPIR (Zhang et al. 2021, "Plug-and-play image restoration with deep
denoiser prior"). At each level sigma_k

    u = argmin_u  |A u - y|^2 / sigma_n^2 + LAMBDA |u - x|^2 / sigma_k^2,   x = D(u, sigma_k)

A has to be linear and the noise Gaussian, of deviation sigma_n; photon noise is taken for Gaussian noise of its mean level. The
levels fall to that of the noise, and the denoiser comes last, so that no noise is put back. An observation without noise has
the last word instead: what it says is exact.

Of a JPEG file, u is the projection onto what the file says (:mod:`hybrid_dip.problem.quantisation`), which has the last word.

Where the image is only noisy, A = 1, one pass of a denoiser at sigma_n is faster and at least as good: the preset ``one-shot``.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.fidelity import gaussian, poisson
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.problem.noise_by_detail import estimate_sigma
from hybrid_dip.problem.noise_gradient import mean_deviation
from hybrid_dip.problem.operators import locality_of
from hybrid_dip.problem.quantisation import box_of, knows_steps
from hybrid_dip.regularisers.denoisers import Denoiser, nlm
from hybrid_dip.regularisers.observed import coarseness

LAMBDA = 0.23
"""Weight of the denoiser, as in DPIR."""
NOISELESS = 1e-3
"""Smallest sigma_n; also that of an observation without noise."""
EXACT_LAST = 3 / 255
"""Noise level of the last round where the observation is without noise."""
EXACT = ("inpaint", "missing-pixels", "super-resolve", "demosaic")
"""Tasks whose observation is taken to be without noise where its level is not given: A spreads an error no further than to the
pixels around it, and in small images and mosaics noise cannot be told from detail."""
NARROW = 0.3
"""Share of half a step of quantisation within which the coefficients of a JPEG file are kept between two rounds (the narrow
constraint of Park & Lee 1999): most are nearer to the middle than to the ends. At the end they are kept within all of it. On
training photographs this was better than 0.6 and 1."""
ESTIMATED = ("deblur", "flash")
"""Tasks whose noise level is estimated where it is not given: in a blurred image all fine detail is noise, and a dim one is
restored for its noise."""


@dataclass(frozen=True)
class PlugAndPlay:
    """(x, task) -> x: restore by the observation and a denoiser in turn, beginning with an image.

    Attributes:
        denoiser: D, (x, sigma) -> x.
        first: Noise level of the first round, in [0, 1]: the error that the image is taken to begin with. It is at least
            ``last``.
        last: Noise level of the last round; the levels fall by a constant factor. By default :func:`last_level` of the task.
        rounds: Number of rounds.
        noise: sigma_n, in units of [0, 1]; by default :func:`noise_level` of the task.
    """

    denoiser: Annotated[Denoiser, "denoisers"] = nlm
    first: float = 20 / 255
    last: float | None = None
    rounds: int = 5
    noise: float | None = None

    def __post_init__(self) -> None:
        last = self.first if self.last is None else self.last
        if not 0 < last <= self.first <= 1 or self.rounds < 1:
            raise SettingsError(
                f"Plug-and-play needs noise levels 0 < last <= first <= 1 and at least one round, got {self.first}, "
                f"{self.last} and {self.rounds}."
            )

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        own = getattr(self.denoiser, "describe", None)
        name = own() if callable(own) else getattr(self.denoiser, "__name__", type(self.denoiser).__name__)
        given = {key: value for key in ("last", "noise") if (value := getattr(self, key)) is not None}
        return {"name": "plug-and-play", "denoiser": name, "first": self.first, "rounds": self.rounds, **given}

    def check(self, task: Task) -> None:
        """Refuse a task that it does not apply to.

        Args:
            task: The task to restore.

        Raises:
            SettingsError: The noise is neither Gaussian nor of photons, or the steps of a JPEG file are not known.
        """
        if task.fidelity not in (gaussian, poisson):
            raise SettingsError("Plug-and-play is for Gaussian or photon noise, or none; the fidelity of this task is another.")
        if task.name == "jpeg" and not knows_steps(task):
            raise SettingsError(
                "Plug-and-play needs the steps of quantisation of a JPEG file, and all of its pixels: give the file itself or "
                "its quality (--quality), or take another preset, such as 'fast'."
            )

    def __call__(self, x: Tensor, task: Task) -> Tensor:
        """Restore.

        Args:
            x: Image to begin with, (1, C, H, W).
            task: A linear task.

        Returns:
            An image of the same shape, before ``finish``.

        Raises:
            SettingsError: It does not apply, or the noise level is neither given nor can be estimated.
        """
        self.check(task)
        box = box_of(task)
        if box is not None:
            for level in self._levels(box.error if self.last is None else self.last):
                with torch.no_grad():
                    x = self.denoiser(box.project(x, NARROW), level).detach()
            return box.project(x)
        noise = noise_level(task, self.denoiser) if self.noise is None else self.noise
        last = last_level(task, noise) if self.last is None else self.last
        for level in self._levels(last):
            u = nearest_explanation(x, task, LAMBDA * (max(noise, NOISELESS) / level) ** 2)
            with torch.no_grad():
                x = self.denoiser(u, level).detach()
        return x if noise else nearest_explanation(x, task, LAMBDA * (NOISELESS / last) ** 2)

    def _levels(self, last: float) -> list[float]:
        """The noise level of each round."""
        first = max(self.first, last)
        return [first * (last / first) ** (k / max(1, self.rounds - 1)) for k in range(self.rounds)]


def last_level(task: Task, noise: float) -> float:
    """The noise level at which plug-and-play ends: that of the data, as in DPIR.

    Half of it where pixels or colours are missing: those known next to a hole keep more of their detail then. This was better
    on training photographs, with noise of 10 and 25 grey levels and in noisy mosaics.

    Args:
        task: The task.
        noise: Its noise level in units of [0, 1].

    Returns:
        The level, at least 2/255; 3/255 where there is no noise.
    """
    if noise == 0:
        return EXACT_LAST
    locality = locality_of(task.forward)
    whole = locality is None or locality.averages or (task.weight is None and task.observation.numel() >= math.prod(task.shape))
    return max(noise if whole else noise / 2, LEAST_SIGMA)


def noise_level(task: Task, denoiser: Denoiser) -> float:
    """sigma_n of a task: its own level, or by the kind of task an estimate or 0; of photon noise the mean level.

    An A that hardly lets fine detail through, such as a blur, would turn noise that is taken for signal into large errors.

    Args:
        task: The task with its whole observation.
        denoiser: Denoiser that is told the level.

    Returns:
        The noise level in units of [0, 1].

    Raises:
        SettingsError: The task has no level, and it cannot be estimated.
    """
    if task.noise_sigma is not None:
        return task.noise_sigma * coarseness(task, denoiser)
    if task.fidelity is poisson:
        return mean_deviation(task)
    if task.name in EXACT:
        return 0.0
    if task.name in ESTIMATED:
        return estimate_sigma(task.observation)
    raise SettingsError(f"Plug-and-play needs the noise level of the task '{task.name}': give sigma (--sigma), 0 for no noise.")
