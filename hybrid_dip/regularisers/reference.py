"""Reference: small for images that are like a given one, in one respect or another."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.guides import guide_like, same_size
from hybrid_dip.regularisers.terms import Weighable
from hybrid_dip.regularisers.variation import differences


@dataclass(frozen=True, eq=False)
class GuidePixels(Weighable):
    """Mean squared distance to a guide g, such as another method's result.

        R(x) = mean_p |x(p) - g(p)|^2

    Attributes:
        image: File of the guide, or (1, C, H, W) in [0, 1].
    """

    of_whole_image: ClassVar[bool] = True
    image: str | Tensor = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        return (x - self._guide(x)).square().mean()

    def prox(self, x: Tensor, gamma: float) -> Tensor:
        """argmin_u |u - x|^2 / 2 + gamma R(u), exactly."""
        pull = 2 * gamma / x.numel()
        return (x + pull * self._guide(x)) / (1 + pull)

    def _guide(self, x: Tensor) -> Tensor:
        return same_size(x, guide_like(x, self.image, "guide-pixels"), "guide-pixels")


@dataclass(frozen=True, eq=False)
class GuideGradients(Weighable):
    """Mean squared distance to a guide's gradients: its edges, not its brightness (Perez, Gangnet & Blake 2003).

        R(x) = mean_p |grad x(p) - grad g(p)|^2

    Attributes:
        image: File of the guide, or (1, C, H, W) in [0, 1].
    """

    of_whole_image: ClassVar[bool] = True
    image: str | Tensor = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        guide = same_size(x, guide_like(x, self.image, "guide-gradients"), "guide-gradients")
        down, right = differences(x - guide)
        return (down.square() + right.square()).mean()


@dataclass(frozen=True, eq=False)
class GuideCorrelation(Weighable):
    """Local normalised correlation with a guide: common structure of any brightness and contrast (Lewis 1995).

        R(x) = mean_p 1 - ( cov(x, g) / sqrt((var x + epsilon^2) (var g + epsilon^2)) )^2   over a window around p

    Because of the square an edge may be bright on the other side: guides of another modality serve as well.

    Attributes:
        image: File of the guide, or (1, C, H, W) in [0, 1].
        window: Side of the window, in pixels, odd.
        epsilon: Standard deviation below which a window counts as flat, in units of [0, 1], above 0.
    """

    of_whole_image: ClassVar[bool] = True
    image: str | Tensor = ""
    window: int = 9
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0 or not self.epsilon > 0:
            raise SettingsError(
                f"guide-correlation needs an odd window of at least 3 and epsilon above 0, got {self.window}, {self.epsilon}."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        guide = same_size(x, guide_like(x, self.image, "guide-correlation"), "guide-correlation")

        def mean(image: Tensor) -> Tensor:
            return F.avg_pool2d(image, self.window, stride=1, padding=self.window // 2, count_include_pad=False)

        means = mean(x), mean(guide)
        covariance = mean(x * guide) - means[0] * means[1]
        variances = [
            (mean(y.square()) - m.square()).clamp_min(0) + self.epsilon**2 for y, m in zip((x, guide), means, strict=True)
        ]
        return (1 - covariance.square() / (variances[0] * variances[1])).mean()


@dataclass(frozen=True, eq=False)
class GuideHistogram(Weighable):
    """Distance of the histograms of each channel: the guide's tones, wherever they are; the guide may have any size.

        R(x) = mean_q ( Q_q(x) - Q_q(g) )^2,   Q_q the q-th quantile: the squared 2-Wasserstein distance in one dimension

    Attributes:
        image: File of the guide, or (1, C, h, w) in [0, 1].
    """

    of_whole_image: ClassVar[bool] = True
    image: str | Tensor = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Return R(x) for x of shape (1, C, H, W), as ()."""
        own = x.flatten(2).sort().values
        guide = guide_like(x, self.image, "guide-histogram").flatten(2).sort().values
        return (own - F.interpolate(guide, own.shape[-1], mode="linear", align_corners=True)).square().mean()
