"""Regularisers: small for images that a network which has seen many others takes for the target.

The target is a guide image, the observation (A x against y), or what a denoiser makes of the current estimate.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.regularisers.denoisers import Denoiser
from hybrid_dip.regularisers.guides import guide_like, same_size
from hybrid_dip.regularisers.levels import check_sigma, level_at
from hybrid_dip.regularisers.memory import Bound, Memory, WithMemory, check_every
from hybrid_dip.regularisers.terms import Regulariser, Schedule
from pretrained.denoisers import bundled
from pretrained.distances import ALIKE, DISTANCES
from pretrained.features import load_features
from pretrained.perceptual import load_perceptual
from pretrained.placing import beside

Target = Literal["estimate", "observation", "guide"]
TARGETS = ("estimate", "observation", "guide")


@dataclass(frozen=True, eq=False)
class Likeness(WithMemory):
    """What the regularisers of this module have in common: the target, and when it is looked at.

    Attributes:
        to: "estimate": the denoised current estimate, constant in the gradient, as in RED; "observation": y, compared with A x;
            "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, 0..1, a number or a schedule; "residual" for that of the current residual; None for
            the task's (at least 2/255; 10/255 where the task has none).
        over: Steps that a schedule of sigma takes.
        every: Steps between two estimates.
    """

    to: Target = "estimate"
    image: str | Tensor = ""
    denoiser: Annotated[Denoiser, "denoisers"] = bundled
    sigma: float | Schedule | str | None = None
    over: int = 1000
    every: int = 25

    def __post_init__(self) -> None:
        check_every(type(self).__name__, self.every)
        check_every(f"{type(self).__name__}'s schedule", self.over)
        if self.to not in TARGETS:
            raise SettingsError(f"The target 'to' of {type(self).__name__}: {nearest(self.to, list(TARGETS))}.")
        check_sigma(type(self).__name__, self.sigma)

    @abstractmethod
    def look(self, x: Tensor) -> list[Tensor]:
        """What is compared of an image."""

    @abstractmethod
    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The distance of what :meth:`look` gave, ()."""

    def bind(self, task: Task) -> Regulariser:
        """Begin a fit."""
        return Observed(self, task) if self.to == "observation" else Bound(self, task)

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """What is compared of a guide, which stays, or of the denoised x."""
        if self.to == "observation":
            raise SettingsError(f"{type(self).__name__} can be compared with the observation within a fit only.")
        if self.to == "guide":
            return memory or self.seen(self.guide(x))
        with torch.no_grad():
            return self.seen(self.denoiser(x, level_at(self.sigma, self.over, x, step, task)))

    @property
    def of_whole_image(self) -> bool:
        """Whether it is compared with a guide, which is as large as the image."""
        return self.to == "guide"

    def guide(self, x: Tensor) -> Tensor:
        """The guide image for an x."""
        name = type(self).__name__
        return same_size(x, guide_like(x, self.image, name), name)

    def seen(self, target: Tensor) -> Memory:
        """What is compared of a target, to be remembered."""
        with torch.no_grad():
            return {str(index): part for index, part in enumerate(self.look(target))}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The distance to the target."""
        return self.compare(self.look(x), [memory[str(index)] for index in range(len(memory))])


class Observed:
    """A likeness of A x to y, within one fit; what is compared of y stays.

    Args:
        likeness: What compares.
        task: The task to fit, with A and y.

    Raises:
        SettingsError: y is not an image.
    """

    def __init__(self, likeness: Likeness, task: Task):
        y = task.observation
        if y.ndim != 4 or y.shape[0] != 1:
            raise SettingsError(f"An observation of the shape {tuple(y.shape)} is no image to look at; take another target.")
        self.likeness, self.task = likeness, task
        self.target = likeness.seen(self._measured(y))

    def __call__(self, x: Tensor) -> Tensor:
        """The distance of A x to y, as ()."""
        return self.likeness.energy(self._measured(self.task.forward(x)), self.target)

    def _measured(self, y: Tensor) -> Tensor:
        """An image like y, 0 where nothing was measured."""
        return y if self.task.weight is None else y * self.task.weight


@dataclass(frozen=True, eq=False)
class DeepFeatures(Likeness):
    """Distance of deep features to those of a target (Johnson, Alahi & Fei-Fei 2016; Gatys, Ecker & Bethge 2016).

        R(x) = mean over layers l of d(f_l(x), f_l(target))

    f_l are maps of a network that was trained on ImageNet, d one of "mse", "cosine", "gram" (style), "sliced-wasserstein" and
    "contextual"; see pretrained/distances.py for the formulas.

    Attributes:
        model: Of timm; the default works with no network (extra ``offline``).
        layers: Stages of it, from 0, fine to coarse.
        distance: Between maps.
        to: "estimate": what the denoiser makes of the current estimate; "observation": y, compared with A x; "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, 0..1, a number or a schedule; "residual" for that of the current residual; None for
            the task's.
        over: Steps that a schedule of sigma takes.
        every: Steps between two estimates.
    """

    model: str = "tf_efficientnet_lite0"
    layers: tuple[int, ...] = (0, 1, 2)
    distance: Literal["mse", "cosine", "gram", "sliced-wasserstein", "contextual"] = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance not in DISTANCES:
            raise SettingsError(f"The distance of DeepFeatures: {nearest(self.distance, list(DISTANCES))}.")

    def look(self, x: Tensor) -> list[Tensor]:
        """Maps of the layers."""
        found: list[Tensor] = beside(load_features(self.model, tuple(self.layers)), x)(x)
        return found

    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The mean of the distances."""
        measured = DISTANCES[self.distance]
        return torch.stack([measured(a, b) for a, b in zip(mine, other, strict=True)]).mean()

    def guide(self, x: Tensor) -> Tensor:
        """The guide image for an x; where the distance does not ask what is where, another size will do."""
        return super().guide(x) if self.distance in ALIKE else guide_like(x, self.image, "DeepFeatures")


@dataclass(frozen=True, eq=False)
class LPIPS(Likeness):
    """Learned perceptual distance to a target (Zhang et al. 2018; shift-tolerant: Ghildyal & Liu 2022).

        R(x) = sum over layers of mean over places of sum_c w_c (f_c(x) - f_c(target))^2

    f are features of length one at each place, w weights fitted to people's judgements.

    Attributes:
        name: "stlpips-alex" or "stlpips-vgg", which work with no network (extra ``offline``); "lpips-alex", "lpips-vgg",
            "lpips-squeeze".
        to: "estimate": what the denoiser makes of the current estimate; "observation": y, compared with A x; "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, 0..1, a number or a schedule; "residual" for that of the current residual; None for
            the task's.
        over: Steps that a schedule of sigma takes.
        every: Steps between two estimates.
    """

    name: str = "stlpips-alex"

    def look(self, x: Tensor) -> list[Tensor]:
        """Features of length one."""
        return beside(load_perceptual(self.name), x).features(x)

    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The weighted squared distance."""
        return beside(load_perceptual(self.name), mine[0]).compare(mine, other).mean()
