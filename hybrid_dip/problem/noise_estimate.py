"""What the noise of one image is: its level as a function of the brightness, and whether it is alike between neighbours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import ALIKE, Record
from hybrid_dip.errors import SettingsError, warn
from hybrid_dip.images.kinds import AnyImage
from hybrid_dip.problem.given import one_image
from hybrid_dip.problem.noise_network import BLOCK, Reading, noise_network

COLOURS = 3
TILE, TILES = 512, 9
"""Larger images are read in as many parts of this side."""
LEVELS = 8
"""Points of a level function."""
EVEN = 1.3
"""Levels that differ by less than this factor are one."""
UNSURE = 0.25
"""A level that may be off by this share is not told."""
SMALLEST = 32
"""Below this side in pixels there are too few blocks to be sure of."""


@dataclass(frozen=True)
class Level:
    """Deviation of the noise as a function of the brightness, in one channel, both in units of [0, 1].

    Attributes:
        brightness: Points, increasing.
        deviation: The deviation at each.
    """

    brightness: tuple[float, ...]
    deviation: tuple[float, ...]

    def at(self, x: Tensor) -> Tensor:
        """The deviation at brightnesses of any shape: linear between the points, constant beyond them."""
        found = np.interp(x.detach().cpu().numpy(), self.brightness, self.deviation)
        return torch.from_numpy(np.asarray(found)).to(x)


@dataclass(frozen=True, eq=False, repr=False)
class NoiseEstimate(Record):
    """What the noise of an image is.

    Attributes:
        sigma: Its deviation over the whole image, in units of [0, 1].
        levels: The deviation as a function of the brightness, for each channel.
        correlation: Between the noise of neighbours 1, 2 and 3 pixels apart.
        error: How far sigma may be off, as a share of it, in the mean over images like this one.
    """

    sigma: float
    levels: tuple[Level, ...]
    correlation: tuple[float, ...]
    error: float

    @property
    def white(self) -> bool:
        """Whether the noise of neighbours is independent."""
        return abs(self.correlation[0]) < ALIKE

    @property
    def even(self) -> bool:
        """Whether its level hardly depends on brightness and colour."""
        known = [deviation for level in self.levels for deviation in level.deviation]
        return max(known) < EVEN * min(known)

    def precision(self, image: Tensor) -> Tensor | None:
        """How much each entry of a noisy image counts: sigma^2 over its own variance; None where the noise is even.

        Args:
            image: The image, (1, C, H, W).

        Returns:
            Of the same shape, from 1/16 to 16.
        """
        return None if self.even else (self.sigma / self.map(image)).square().clamp(1 / 16, 16)

    def map(self, image: Tensor) -> Tensor:
        """The deviation at each pixel.

        Args:
            image: The noisy image, (1, C, H, W); its noise is smoothed before its brightness is taken.

        Returns:
            Of the same shape.
        """
        smooth = F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
        return torch.cat([level.at(smooth[:, [channel]]) for channel, level in enumerate(self.levels)], 1)

    def sentence(self) -> str:
        """What it is, in words."""
        dark, bright = (_mean([level.deviation[end] for level in self.levels]) for end in (0, -1))
        by_colour = [_mean(level.deviation) for level in self.levels]
        parts = [f"The noise has a level of {255 * self.sigma:.1f} (of 255), give or take {100 * self.error:.0f} %"]
        if max(dark, bright) > 1.25 * min(dark, bright):
            parts.append(f"{255 * dark:.1f} where the image is dark and {255 * bright:.1f} where it is bright")
        if len(self.levels) == COLOURS and max(by_colour) > 1.25 * min(by_colour):
            named = zip(("red", "green", "blue"), by_colour, strict=True)
            parts.append(", ".join(f"{255 * level:.1f} in {name}" for name, level in named))
        if self.white:
            parts.append("white: alike in no two neighbours")
        else:
            parts.append(f"alike between neighbours (correlation {self.correlation[0]:.2f}): not white")
        return "; ".join(parts) + "."

    def describe(self) -> dict[str, Any]:
        """The estimate in plain numbers, levels in grey levels of 255."""
        return {
            "sigma": 255 * self.sigma,
            "white": self.white,
            "level": [
                {"brightness": [255 * x for x in one.brightness], "sigma": [255 * x for x in one.deviation]}
                for one in self.levels
            ],
            "correlation": list(self.correlation),
            "error": self.error,
        }


def estimate(image: AnyImage, *, sure: bool = True) -> NoiseEstimate:
    """Tell the noise of one image: additive, its level a function of the brightness, white or alike between neighbours.

    A small network reads it (:mod:`hybrid_dip.problem.noise_network`). Detail is not taken for noise where parts of the image
    are smooth.

    Args:
        image: An image of any kind, at least 32x32 pixels, in [0, 1] plus noise.
        sure: Refuse a level that may be off by more than a quarter; otherwise a warning says so.

    Returns:
        The estimate.

    Raises:
        SettingsError: It is no image, or its noise cannot be told.
    """
    x = one_image(image)
    height, width = x.shape[-2:]
    if min(height, width) < SMALLEST and sure:
        raise _untold(f"the image is {width}x{height} pixels, and at least {SMALLEST}x{SMALLEST} are needed")
    if float(x.amax() - x.amin()) == 0:
        raise _untold("it is all one colour")
    planes = [x] if x.shape[1] == COLOURS else [plane.expand(-1, COLOURS, -1, -1) for plane in torch.split(x, 1, 1)]
    readings = [[_read(tile) for tile in _tiles(plane)] for plane in planes]
    several = [reading for plane in readings for reading, _ in plane]
    variance = torch.cat([reading.variance.flatten() for reading in several])
    error = math.exp(float(torch.stack([reading.error for reading in several]).mean())) - 1
    if error > UNSURE and sure:
        raise _untold(f"detail and noise look alike in it (the level may be off by {100 * error:.0f} %)")
    correlation = torch.cat([reading.correlation for reading in several]).mean(0)
    found = NoiseEstimate(
        math.sqrt(float(variance.mean())),
        tuple(level for plane in readings for level in _levels(plane, whole=x.shape[1] == COLOURS)),
        tuple(correlation.tolist()),
        error,
    )
    if error > UNSURE or min(height, width) < SMALLEST:
        warn(f"The level of the noise is taken to be {255 * found.sigma:.1f} (of 255), which is a guess; sigma says it better.")
    return found


def photon(image: AnyImage) -> float:
    """What one photon is worth in an image with photon noise alone: the variance of the noise over the brightness.

    Args:
        image: As for :func:`estimate`.

    Returns:
        The gain a of y = a Poisson(x / a), above 0.

    Raises:
        SettingsError: As there.
    """
    levels = estimate(image, sure=False).levels
    variance = sum(deviation**2 for level in levels for deviation in level.deviation)
    return max(variance / max(sum(x for level in levels for x in level.brightness), 1e-6), 1e-6)


def _untold(why: str) -> SettingsError:
    return SettingsError(f"The noise of this image cannot be told: {why}; give sigma.")


@torch.no_grad()
def _read(tile: Tensor) -> tuple[Reading, Tensor]:
    """What the network says of a part of an image, and the brightness of its blocks."""
    return noise_network()(tile), F.avg_pool2d(tile, BLOCK)


def _tiles(x: Tensor) -> list[Tensor]:
    """The image, cut to multiples of a block; or parts of it, spread evenly, where it is large."""
    height, width = (side // BLOCK * BLOCK for side in x.shape[-2:])
    if height * width <= TILES * TILE**2:
        return [x[..., :height, :width].cpu()]
    tall, wide = min(TILE, height), min(TILE, width)
    places = round(math.sqrt(TILES))
    tops, lefts = (_spread(side, part, places) for side, part in ((height, tall), (width, wide)))
    return [x[..., top : top + tall, left : left + wide].cpu() for top in tops for left in lefts]


def _spread(side: int, part: int, count: int) -> list[int]:
    """Where parts of a side begin."""
    return sorted({round((side - part) * place / (count - 1)) for place in range(count)})


def _levels(readings: Sequence[tuple[Reading, Tensor]], *, whole: bool) -> list[Level]:
    """The level function of each channel, or of the one that was read three times."""
    variance = torch.cat([reading.variance.flatten(2) for reading, _ in readings], 2)[0]
    brightness = torch.cat([bright.flatten(2) for _, bright in readings], 2)[0]
    if not whole:
        variance, brightness = variance.mean(0, keepdim=True), brightness[:1]
    return [_level(x.numpy(), v.numpy()) for x, v in zip(brightness, variance, strict=True)]


def _level(brightness: Any, variance: Any) -> Level:
    """Means over groups of blocks of like brightness, each of as many blocks."""
    order = np.argsort(brightness, kind="stable")
    groups = np.array_split(order, min(LEVELS, max(1, len(order) // 16)))
    points = {float(brightness[group].mean()): math.sqrt(float(variance[group].mean())) for group in groups}
    return Level(tuple(points), tuple(points.values()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
