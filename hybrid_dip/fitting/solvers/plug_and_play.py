"""Plug-and-play restoration: a denoiser and the observation in turn, no network fitted (Venkatakrishnan et al. 2013).

Half-quadratic splitting with falling noise levels, as in DPIR (Zhang et al. 2021, "Plug-and-play image restoration with deep
denoiser prior"). At each level sigma_k

    v = D(x, sigma_k),   x = argmin_u  |A u - y|^2 / sigma_n^2 + LAMBDA |u - v|^2 / sigma_k^2

A has to be linear and the noise Gaussian, of deviation sigma_n. Where the image is only noisy, A = 1, one pass of a denoiser
at sigma_n is better and faster: the preset ``one-shot``.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.problem.noise import estimate_sigma
from hybrid_dip.regularisers.denoisers import Denoiser, nlm

LAMBDA = 0.23
"""Weight of the denoiser, as in DPIR."""
NOISELESS = 1e-3
"""Smallest sigma_n; also that of an observation without noise."""
EXACT = ("inpaint", "missing-pixels", "super-resolve", "demosaic")
"""Tasks whose observation is taken to be without noise where its level is not given: A spreads an error no further than to the
pixels around it, and in small images and mosaics noise cannot be told from detail."""
ESTIMATED = ("deblur", "flash")
"""Tasks whose noise level is estimated where it is not given: in a blurred image all fine detail is noise, and a dim one is
restored for its noise."""


@dataclass(frozen=True)
class PlugAndPlay:
    """(x, task) -> x: restore by a denoiser and the observation in turn, beginning with an image.

    Attributes:
        denoiser: D, (x, sigma) -> x.
        first: Noise level of the first round, in [0, 1]: the error that the image is taken to begin with.
        last: Noise level of the last round; the levels fall by a constant factor.
        rounds: Number of rounds.
        noise: sigma_n, in units of [0, 1]; by default :func:`noise_level` of the task.
    """

    denoiser: Annotated[Denoiser, "denoisers"] = nlm
    first: float = 10 / 255
    last: float = 3 / 255
    rounds: int = 5
    noise: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.last <= self.first <= 1 or self.rounds < 1:
            raise SettingsError(
                f"Plug-and-play needs noise levels 0 < last <= first <= 1 and at least one round, got {self.first}, "
                f"{self.last} and {self.rounds}."
            )

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        own = getattr(self.denoiser, "describe", None)
        name = own() if callable(own) else getattr(self.denoiser, "__name__", type(self.denoiser).__name__)
        levels = {"first": self.first, "last": self.last, "rounds": self.rounds}
        noise = {} if self.noise is None else {"noise": self.noise}
        return {"name": "plug-and-play", "denoiser": name, **levels, **noise}

    def check(self, task: Task) -> None:
        """Refuse a task that it does not apply to.

        Args:
            task: The task to restore.

        Raises:
            SettingsError: The noise is not Gaussian, or JPEG artefacts are what is wrong.
        """
        if task.fidelity is not gaussian:
            raise SettingsError("Plug-and-play is for Gaussian noise or none; the fidelity of this task is another.")
        if task.name == "jpeg":
            raise SettingsError(
                "Plug-and-play is for Gaussian noise or none, and JPEG artefacts are neither: take another preset, such as "
                "'fast'."
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
        noise = max(noise_level(task) if self.noise is None else self.noise, NOISELESS)
        ratio = (self.last / self.first) ** (1 / max(1, self.rounds - 1))
        for k in range(self.rounds):
            level = self.first * ratio**k
            with torch.no_grad():
                v = self.denoiser(x, level).detach()
            x = nearest_explanation(v, task, LAMBDA * (noise / level) ** 2)
        return x


def noise_level(task: Task) -> float:
    """sigma_n of a task: its own level, or by the kind of task an estimate or 0.

    An A that hardly lets fine detail through, such as a blur, would turn noise that is taken for signal into large errors.

    Args:
        task: The task with its whole observation.

    Returns:
        The noise level in units of [0, 1].

    Raises:
        SettingsError: The task has no level, and it cannot be estimated.
    """
    if task.noise_sigma is not None:
        return task.noise_sigma
    if task.name in EXACT:
        return 0.0
    if task.name in ESTIMATED:
        return estimate_sigma(task.observation)
    raise SettingsError(f"Plug-and-play needs the noise level of the task '{task.name}': give sigma (--sigma), 0 for no noise.")
