"""Stacking: images of one scene, combined by weights that are chosen by data from which none of the images was made.

Each image has one weight (Wolpert 1992; Breiman 1996; here on the simplex), or a map of weights: a smooth image that says how
much of each pixel comes from it. The weights minimise the squared residual w^T G w, G_ab = mean r_a r_b, at data that were held
out or are independent by construction (:mod:`hybrid_dip.stopping.selection`). A map does the same in a Gaussian window around
each pixel. It is pulled to the global weights as if these had been seen in a number of further entries. Width and number are
chosen by cross-validation among the judging data. Maps are used only where they are better there than one weight for each
image by 2.5 standard errors of the difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Record, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion.simplex import simplex_weights
from hybrid_dip.problem.operators import locality_of

WINDOWS = (1 / 24, 1 / 12, 1 / 6)
"""Standard deviations of the Gaussian window that are tried, as shares of the image's shorter side."""
PULLS = (30.0, 300.0, 3000.0)
"""Numbers of entries that the global weights count for in each window."""
SURE_ENOUGH = 2.5
"""Standard errors by which maps must be better than single weights: by chance, the best of nine settings is so in one of 20."""


@dataclass(frozen=True, eq=False, repr=False)
class Combination(Record):
    """Weights for images.

    Attributes:
        weights: A weight for each image, at least 0, with sum 1; (K,) in double precision.
        maps: Maps of weights, (K, H, W), or None where one weight for each image is as good.
        errors: Mean squared residual of each image at the judging data.
        error: Mean squared residual of the combination there; with maps, by cross-validation.
        settings: The window and the pull that were chosen, and how much better they were.
    """

    weights: Tensor
    maps: Tensor | None
    errors: tuple[float, ...]
    error: float
    settings: dict[str, float | str] = field(default_factory=dict)

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Combine images.

        Args:
            images: K images (1, C, H, W).

        Returns:
            The image, (1, C, H, W).
        """
        stacked = torch.cat(list(images))
        if self.maps is None:
            return torch.einsum("k,kchw->chw", self.weights.to(stacked), stacked)[None]
        return torch.einsum("khw,kchw->chw", self.maps.to(stacked), stacked)[None]


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What the judging data say.

    Attributes:
        products: Products of residuals, summed over channels and replicates, (K, K, h, w).
        entries: Number of entries, (h, w).
    """

    products: Tensor
    entries: Tensor

    def gram(self) -> Tensor:
        """Means over all entries, (K, K)."""
        return self.products.sum((-2, -1)) / self.entries.sum()

    def part(self, chosen: Tensor) -> "_Evidence":
        """What some pixels say, (h, w) of 0 and 1."""
        return _Evidence(self.products * chosen, self.entries * chosen)


def combine(images: Sequence[Sequence[Tensor]], judges: Sequence[Task], *, local: bool = True) -> Combination:
    """Choose the weights that minimise the squared residual at the judging data.

    Args:
        images: For each replicate the K images that were made from its task, before ``finish``, (1, C, H, W).
        judges: For each replicate the task with the data that judge them.
        local: Whether maps are tried; they are where an entry of y is known to be of its own place in the image.

    Returns:
        The combination.

    Raises:
        SettingsError: The images differ in size, or there is nothing to combine.
    """
    sizes = {tuple(image.shape) for one in images for image in one}
    if not images or not images[0] or len(sizes) != 1:
        given = " and ".join(f"{size[-1]}x{size[-2]}" for size in sorted(sizes)) or "none"
        raise SettingsError(f"Images to combine must be of one size, got {given}.")
    evidence = _evidence(images, judges)
    gram = evidence.gram()
    weights = simplex_weights(gram)
    errors = tuple(float(value) for value in gram.diagonal())
    plain = Combination(weights, None, errors, float(weights @ gram @ weights))
    if not local or len(images[0]) < 2 or judges[0].observation.ndim != 4 or locality_of(judges[0].forward) is None:
        return plain
    (size,) = sizes
    return _with_maps(plain, evidence, (size[-2], size[-1]), max(judge.reach for judge in judges))


def _evidence(images: Sequence[Sequence[Tensor]], judges: Sequence[Task]) -> _Evidence:
    products: Tensor | float = 0.0
    entries: Tensor | float = 0.0
    for one, judge in zip(images, judges, strict=True):
        residuals = torch.stack([judge.residual(image) for image in one]).double()
        y = judge.observation
        weight = torch.ones_like(y) if judge.weight is None else judge.weight.expand_as(y)
        if y.ndim == 4:
            products = products + torch.einsum("achw,bchw->abhw", residuals[:, 0], residuals[:, 0])
            entries = entries + weight[0].sum(0).double()
        else:  # no image: all in one place
            flat = residuals.flatten(1)
            products = products + (flat @ flat.T)[..., None, None]
            entries = entries + weight.sum().double()[None, None]
    assert isinstance(products, Tensor)
    assert isinstance(entries, Tensor)
    return _Evidence(products, entries)


def _with_maps(plain: Combination, evidence: _Evidence, size: tuple[int, int], side: int) -> Combination:
    """Choose window and pull by two-fold cross-validation over pixels; keep single weights where these are as good.

    Where noise is alike between neighbours, squares of that side take the place of pixels.
    """
    shape = evidence.entries.shape
    squares = [-(-length // side) for length in shape]
    drawn = torch.from_numpy(np.random.default_rng(0).random(squares) < 0.5).to(evidence.entries)
    half = drawn.repeat_interleave(side, 0).repeat_interleave(side, 1)[: shape[0], : shape[1]]
    halves = [(evidence.part(a), evidence.part(b)) for a, b in ((half, 1 - half), (1 - half, half))]
    one = sum(_losses(test, simplex_weights(train.gram())[:, None, None].expand(-1, *shape)) for train, test in halves)
    tried: dict[tuple[float, float], Tensor] = {}
    for share, pull in product(WINDOWS, PULLS):
        window = max(1.0, share * min(shape))
        tried[window, pull] = torch.stack([_losses(test, _maps(train, window, pull)) for train, test in halves]).sum(0)
    best = min(tried, key=lambda setting: float(tried[setting].sum()))
    gained = _by_squares(one - tried[best], side)[_by_squares(evidence.entries, side) > 0]
    count = float(evidence.entries.sum())
    gain, doubt = float(gained.sum()), float(gained.std()) * math.sqrt(gained.numel())
    about: dict[str, float | str] = {"window": best[0], "pull": best[1], "gain": gain / count, "standard_error": doubt / count}
    if not gain > SURE_ENOUGH * doubt:
        return Combination(
            plain.weights, None, plain.errors, plain.error, {**about, "maps": "no better than one weight an image"}
        )
    maps = _maps(evidence, *best)
    if tuple(maps.shape[-2:]) != tuple(size):
        maps = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    return Combination(plain.weights, maps, plain.errors, float(tried[best].sum()) / count, {**about, "maps": "used"})


def _by_squares(values: Tensor, side: int) -> Tensor:
    """Sums over squares of that side."""
    height, width = values.shape
    return side**2 * F.avg_pool2d(F.pad(values[None], (0, -width % side, 0, -height % side)), side)[0]


def _losses(test: _Evidence, weights: Tensor) -> Tensor:
    """Squared residual of the combination in each pixel, (h, w)."""
    return torch.einsum("ahw,abhw,bhw->hw", weights, test.products, weights)


def _maps(train: _Evidence, window: float, pull: float) -> Tensor:
    """The weights in a Gaussian window around each pixel, (K, h, w). They are smooth, and so computed on a coarser grid."""
    height, width = train.entries.shape
    stride = max(1, int(window / 2))
    area = 4 * math.pi * window**2  # entries that count in a window with one entry in each pixel
    products, entries = (_blur(part, window)[..., ::stride, ::stride] for part in (train.products, train.entries[None, None]))
    gram = (area * products + pull * train.gram()[..., None, None]) / (area * entries[0, 0] + pull)
    weights = simplex_weights(gram.permute(2, 3, 0, 1)).permute(2, 0, 1)
    if stride == 1:
        return weights
    # The grid's points are exactly the pixels 0, stride, 2 stride, ...; beyond the last one its value holds.
    rows, columns = (torch.arange(n, dtype=weights.dtype, device=weights.device) / stride for n in (height, width))
    return _interpolate(_interpolate(weights, rows, -2), columns, -1)


def _interpolate(values: Tensor, places: Tensor, axis: int) -> Tensor:
    """Interpolate linearly along an axis, at places in units of its entries."""
    last = values.shape[axis] - 1
    below = places.floor().clamp(max=last).long()
    share = (places - below).clamp(0, 1)
    share = share[:, None] if axis == -2 else share
    return values.index_select(axis, below) * (1 - share) + values.index_select(axis, (below + 1).clamp(max=last)) * share


def _blur(x: Tensor, deviation: float) -> Tensor:
    """Filter (..., h, w) by a Gaussian whose weights sum to 1; outside it is zero."""
    reach = math.ceil(3 * deviation)
    ramp = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (ramp / deviation) ** 2)
    kernel = kernel / kernel.sum()
    planes = x.reshape(-1, 1, *x.shape[-2:])
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return planes.view(x.shape)
