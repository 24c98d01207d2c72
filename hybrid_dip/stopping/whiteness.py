"""Stop where the residual looks most like white noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.stopping.least import check_patience, keep_least, start_least


def correlation(residual: Tensor) -> Tensor:
    """How far an image is from white noise: the sum of its squared autocorrelation over all shifts except zero.

        W(r) = sum_{l != 0} rho(l)^2,   rho(l) = (r * r)(l) / |r|^2   (cyclic, for each channel alone, then their mean)

    By Parseval no shift has to be made: W = mean |F r|^4 / (mean |F r|^2)^2 - 1, F the Fourier transform. The mean is
    subtracted first.

    Args:
        residual: Residual, (1, C, H, W).

    Returns:
        (), 0 for a single impulse, about 1 for white noise, larger the more neighbours are alike.
    """
    centred = residual - residual.mean((-2, -1), keepdim=True)
    power = torch.fft.rfft2(centred, norm="ortho").abs().square()
    # rfft2 leaves out the mirrored half of the spectrum.
    width = residual.shape[-1]
    twice = torch.full((power.shape[-1],), 2.0, device=residual.device)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    pixels = residual.shape[-2] * width
    second = (power * twice).sum((-2, -1)) / pixels
    fourth = (power.square() * twice).sum((-2, -1)) / pixels
    excess: Tensor = (fourth / second.square().clamp_min(torch.finfo(second.dtype).tiny) - 1).mean()
    return excess


@dataclass(frozen=True)
class Whiteness:
    """Keep the image whose residual A x - y is whitest (Almeida & Figueiredo 2013; Lanza et al. 2020).

    Early in a fit the residual still shows the image; late, it lacks the frequencies that have been fitted. No noise level is
    needed, but noise that is white: alike everywhere and independent between neighbours. Entries not measured count as 0.

    Attributes:
        patience: Steps without a whiter residual after which the fit ends.
    """

    patience: int = 500
    reason: ClassVar[str] = "whiteness"

    def __post_init__(self) -> None:
        check_patience("the whiteness rule", self.patience)

    def start(self, task: Task) -> State:
        """Return the empty state.

        Raises:
            SettingsError: The observation is no image.
        """
        if task.observation.ndim != 4:
            raise SettingsError("The whiteness rule needs an observation that is an image: its neighbours are compared.")
        return start_least(task.observation.device)

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Keep the step with the whitest residual."""
        return keep_least(state, correlation(step.residual), self.patience)
