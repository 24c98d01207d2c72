"""The learned prior fitted to the one image: a denoiser's channel gains, by an unbiased estimate of its error on that image."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, describe_given
from hybrid_dip.networks.gains import with_gains
from hybrid_dip.problem.least_squares import interpolation
from hybrid_dip.recipes.recipe import Recipe, settings_of
from hybrid_dip.recipes.without_fit import LatentFromObservation, one_shot
from hybrid_dip.regularisers.denoisers import Denoiser, nlm
from hybrid_dip.regularisers.observed import level_for
from hybrid_dip.regularisers.sure import Divergence
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.stopping.selection import Bootstrap

STEPS = 100
"""Steps at most: a checkerboard has gained nearly all after 75, photographs need fewer than 20."""


class Tuned(nn.Module):
    """z -> D(z), D told one noise level; its gains are what is fitted.

    Args:
        denoiser: (x, sigma) -> x, with gains.
        level: The noise level, a number or a map (1, 1, H, W).
    """

    def __init__(self, denoiser: nn.Module, level: float | Tensor):
        super().__init__()
        self.denoiser = denoiser
        self.level = level if isinstance(level, float) else nn.Buffer(level)

    def forward(self, z: Tensor) -> Tensor:
        """Denoise (1, C, H, W)."""
        clean: Tensor = self.denoiser(z, self.level)
        return clean

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch norm keeps the statistics that it learned."""
        return super().train(False)


@dataclass(frozen=True, eq=False)
class NetworkOfDenoiser:
    """Makes the network of a denoiser, with its learned weights, gains of 1, and the noise level of a task.

    Attributes:
        denoiser: A denoiser that is a network.
        task: The task whose noise it is told.
    """

    denoiser: Callable[..., Tensor]
    task: Task

    def bind(self, task: Task) -> Self:
        """The same for another task, such as one with more noise."""
        return replace(self, task=task)

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """The network; the numbers of channels are those of the image."""
        with torch.device("cpu"):
            network = with_gains(_network(self.denoiser, out_channels))
            return Tuned(network, level_for(self.denoiser, self.task))

    def describe(self) -> dict[str, Any]:
        """The settings for a manifest."""
        return {"name": "gains", "denoiser": settings_of(self.denoiser)}


def _network(denoiser: Callable[..., Tensor], channels: int) -> nn.Module:
    """A copy of the network of a denoiser: it is one, or it has a function ``network`` of the number of channels."""
    if isinstance(denoiser, nn.Module):
        return copy.deepcopy(denoiser)
    made = getattr(denoiser, "network", lambda _: None)(channels)
    if not isinstance(made, nn.Module):
        raise SettingsError(
            f"The preset 'adapted' needs a denoiser that is a network, such as adapted:denoiser=bundled, got "
            f"{describe_given(denoiser)}."
        )
    return copy.deepcopy(made)


def adapted(task: Task, denoiser: Annotated[Denoiser, "denoisers"] = nlm, steps: int = STEPS) -> Recipe:
    """A learned denoiser fitted to the one image, as in ``adapted:denoiser=bundled``.

    The network is the denoiser, z is the noisy image, the start is what was learned. Only a gain for each channel is fitted
    (GainTuning, Mohan et al. 2021), by Stein's unbiased estimate of the error
    (:class:`hybrid_dip.regularisers.sure.Divergence`); the average of the outputs is kept.

    The coupled bootstrap (:class:`hybrid_dip.stopping.selection.Bootstrap`) says how many steps, by data that a fit to a
    noisier image has not seen. It may say none: the image is then the one-shot result. So it is where pixels are held out.

    Args:
        task: Denoising of Gaussian noise that is independent between pixels.
        denoiser: (x, sigma) -> x that is a network: a torch module, or one with a function ``network`` (channels) -> module.
        steps: Steps at most.

    Returns:
        The recipe.

    Raises:
        SettingsError: Another task or noise, or a denoiser that is no network.
    """
    if task.weight is not None:
        return one_shot(task, denoiser)
    Divergence().bind(task)  # raises here where it does not apply
    network = NetworkOfDenoiser(denoiser, task)
    _network(denoiser, task.shape[1])  # raises here, too
    return Recipe(
        network,
        LatentFromObservation(interpolation, task, {"name": "what the observation shows"}),
        steps=steps,
        lr=3e-3,
        average=0.9,
        log_every=5,
        terms=(Term(Divergence(), 1.0, "divergence"),),
        rule=Bootstrap(patience=40),
    )
