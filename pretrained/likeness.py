"""Learned regularisers: small for images that have the features of a target, to a network trained on many images.

The target is a guide image, the observation (A x against y), or the current estimate, denoised.
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
from pretrained.shared_networks import copy_for

Target = Literal["estimate", "observation", "guide"]
TARGETS = ("estimate", "observation", "guide")


@dataclass(frozen=True, eq=False)
class Likeness(WithMemory):
    """What the regularisers of this module have in common: the target, and when its features are taken.

    Attributes:
        to: "estimate": the denoised current estimate, constant in the gradient, as in RED; "observation": y, compared with A x;
            "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Denoiser of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, in [0, 1], a number or a schedule; "residual" for that of the current residual; None
            for the task's (at least 2/255; 10/255 where the task has none).
        over: Steps that a schedule of sigma takes.
        every: Steps between two looks at the estimate.
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
    def features(self, x: Tensor) -> list[Tensor]:
        """The features of an image."""

    @abstractmethod
    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The distance between the features of two images, ()."""

    def bind(self, task: Task) -> Regulariser:
        """Begin a fit."""
        return Observed(self, task) if self.to == "observation" else Bound(self, task)

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """The features of the guide, which stay, or of the denoised x."""
        if self.to == "observation":
            raise SettingsError(f"{type(self).__name__} can be compared with the observation within a fit only.")
        if self.to == "guide":
            return memory or self.memory_of(self.guide(x))
        with torch.no_grad():
            return self.memory_of(self.denoiser(x, level_at(self.sigma, self.over, x, step, task)))

    @property
    def of_whole_image(self) -> bool:
        """Whether the target is a guide, which is as large as the image."""
        return self.to == "guide"

    def guide(self, x: Tensor) -> Tensor:
        """The guide, with the channels of x and on its device."""
        name = type(self).__name__
        return same_size(x, guide_like(x, self.image, name), name)

    def memory_of(self, target: Tensor) -> Memory:
        """The features of a target, as a memory."""
        with torch.no_grad():
            return {str(index): part for index, part in enumerate(self.features(target))}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The distance to the target."""
        return self.compare(self.features(x), [memory[str(index)] for index in range(len(memory))])


class Observed:
    """A likeness of A x to y, within one fit; the features of y stay.

    Args:
        likeness: The likeness.
        task: The task to fit, with A and y.

    Raises:
        SettingsError: y is not an image.
    """

    def __init__(self, likeness: Likeness, task: Task):
        y = task.observation
        if y.ndim != 4 or y.shape[0] != 1:
            raise SettingsError(f"An observation of the shape {tuple(y.shape)} is no image to look at; take another target.")
        self.likeness, self.task = likeness, task
        self.target = likeness.memory_of(self._where_measured(y))

    def __call__(self, x: Tensor) -> Tensor:
        """The distance of A x to y, as ()."""
        return self.likeness.energy(self._where_measured(self.task.forward(x)), self.target)

    def _where_measured(self, y: Tensor) -> Tensor:
        """The same image, with 0 where nothing was measured."""
        return y if self.task.weight is None else y * self.task.weight


@dataclass(frozen=True, eq=False)
class DeepFeatures(Likeness):
    """Distance of deep features to those of a target (Johnson, Alahi & Fei-Fei 2016; Gatys, Ecker & Bethge 2016).

        R(x) = mean over layers l of d(f_l(x), f_l(target))

    f_l are feature maps of a network that was trained on ImageNet. d is one of "mse", "cosine", "gram" (style),
    "sliced-wasserstein" and "contextual"; pretrained/distances.py has the formulas.

    Attributes:
        model: Model of timm; the default works with no network (extra ``offline``).
        layers: Numbers of its stages, from 0, fine to coarse.
        distance: Distance between maps.
        to: "estimate": the denoised current estimate; "observation": y, compared with A x; "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Denoiser of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, in [0, 1], a number or a schedule; "residual" for that of the current residual; None
            for the task's.
        over: Steps that a schedule of sigma takes.
        every: Steps between two looks at the estimate.
    """

    model: str = "tf_efficientnet_lite0"
    layers: tuple[int, ...] = (0, 1, 2)
    distance: Literal["mse", "cosine", "gram", "sliced-wasserstein", "contextual"] = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance not in DISTANCES:
            raise SettingsError(f"The distance of DeepFeatures: {nearest(self.distance, list(DISTANCES))}.")

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps of the layers."""
        maps: list[Tensor] = copy_for(load_features(self.model, tuple(self.layers)), x)(x)
        return maps

    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The mean of the distances."""
        distance = DISTANCES[self.distance]
        return torch.stack([distance(a, b) for a, b in zip(mine, other, strict=True)]).mean()

    def guide(self, x: Tensor) -> Tensor:
        """The guide, of the size of x if the distance compares place by place."""
        return super().guide(x) if self.distance in ALIKE else guide_like(x, self.image, "DeepFeatures")


@dataclass(frozen=True, eq=False)
class LPIPS(Likeness):
    """Learned perceptual distance to a target (Zhang et al. 2018; shift-tolerant: Ghildyal & Liu 2022).

        R(x) = sum over layers of mean over places of sum_c w_c (f_c(x) - f_c(target))^2

    f are features of length one at each place, w weights fitted to people's judgements.

    Attributes:
        name: "stlpips-alex" or "stlpips-vgg", which work with no network (extra ``offline``); "lpips-alex", "lpips-vgg",
            "lpips-squeeze".
        to: "estimate": the denoised current estimate; "observation": y, compared with A x; "guide": an image.
        image: File of the guide, or (1, C, H, W) in [0, 1].
        denoiser: Denoiser of the estimate, (x, sigma) -> x.
        sigma: Noise level that it removes, in [0, 1], a number or a schedule; "residual" for that of the current residual; None
            for the task's.
        over: Steps that a schedule of sigma takes.
        every: Steps between two looks at the estimate.
    """

    name: str = "stlpips-alex"

    def features(self, x: Tensor) -> list[Tensor]:
        """Features of length one."""
        return copy_for(load_perceptual(self.name), x).features(x)

    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The weighted squared distance."""
        return copy_for(load_perceptual(self.name), mine[0]).compare(mine, other).mean()
