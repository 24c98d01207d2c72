"""Patch recurrence: small for images whose small pieces occur again, elsewhere and at smaller scales.

A patch is addressed by the flat index of its first pixel in all scales of the image, one after the other. So only the patches
that are compared are gathered, and the cost does not grow with the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers.guides import guide_like
from hybrid_dip.regularisers.memory import Memory, WithMemory, check_every
from hybrid_dip.regularisers.variation import smooth_root

_ROWS = 512
"""Rows of a distance matrix that are computed at a time."""


def shrink(x: Tensor, scale: float) -> Tensor:
    """Resize an image to a smaller scale, without aliasing.

    Args:
        x: (1, C, H, W).
        scale: Factor of the sides, at most 1.

    Returns:
        (1, C, round(H scale), round(W scale)).
    """
    if scale == 1:
        return x
    size = [max(1, round(scale * side)) for side in x.shape[-2:]]
    return F.interpolate(x, size, mode="bilinear", antialias=True)


@dataclass(frozen=True)
class Places:
    """Where the patches of an image lie, at several scales.

    Attributes:
        first: Flat index of the first pixel of each patch, (N,).
        offsets: From the first pixel to all pixels of its patch, by scale, (S, C size^2).
        scale: Index of each patch's scale, (N,).
    """

    first: Tensor
    offsets: Tensor
    scale: Tensor


def places(shapes: Sequence[Sequence[int]], size: int) -> Places:
    """All patches of images of these shapes.

    Args:
        shapes: (1, C, H, W) for each scale.
        size: Side of a patch, in pixels; smaller scales have no patches.

    Returns:
        The places.
    """
    first, offsets, scale, before = [], [], [], 0
    for index, (_, channels, height, width) in enumerate(shapes):
        rows, columns = torch.arange(height), torch.arange(width)
        inside = rows[: max(0, height - size + 1), None] * width + columns[: max(0, width - size + 1)]
        first.append(before + inside.flatten())
        scale.append(torch.full((inside.numel(),), index))
        square = (torch.arange(size)[:, None] * width + torch.arange(size)).flatten()
        offsets.append((torch.arange(channels)[:, None] * height * width + square).flatten())
        before += channels * height * width
    return Places(torch.cat(first), torch.stack(offsets), torch.cat(scale))


def pyramid(x: Tensor, scales: Sequence[float]) -> tuple[Tensor, list[tuple[int, ...]]]:
    """All scales of an image, one after the other.

    Args:
        x: (1, C, H, W).
        scales: Factors of the sides, at most 1.

    Returns:
        The pixels, (P,), and the shape of each scale.
    """
    images = [shrink(x, scale) for scale in scales]
    return torch.cat([image.flatten() for image in images]), [tuple(image.shape) for image in images]


def gather(pixels: Tensor, index: Tensor) -> Tensor:
    """Look pixels up, so that the gradient is summed in the same order each time.

    Args:
        pixels: (P,).
        index: Indices of pixels, of any shape.

    Returns:
        The pixels, of the shape of ``index``.
    """
    if pixels.device.type == "cpu":
        # Much faster than the gradient of an embedding, and in order as well: on the CPU one thread adds up.
        return pixels.index_select(0, index.flatten()).view(index.shape)
    return F.embedding(index, pixels[:, None]).squeeze(-1)


def nearest_patches(queries: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest candidates of each query, by the mean squared difference.

    Args:
        queries: Patches, (Q, D).
        candidates: Patches, (N, D).
        count: Candidates for each query, at most N.

    Returns:
        Mean squared differences and indices, each (Q, count), nearest first.
    """
    parts = [
        torch.topk(torch.cdist(rows, candidates).square() / queries.shape[1], count, largest=False)
        for rows in torch.split(queries, _ROWS)
    ]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _choose(count: int, most: int, seed: int) -> Tensor:
    """Sorted indices below ``count``: all, or a random choice of ``most``."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values


def _check_patch(owner: object, size: int, every: int, scales: Sequence[float] = (1.0,)) -> None:
    name = type(owner).__name__
    check_every(name, every)
    if size < 2:
        raise SettingsError(f"{name} needs patches of at least 2 pixels, got {size}.")
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise SettingsError(f"{name} needs scales above 0 and up to 1, got {tuple(scales)}.")


@dataclass(frozen=True)
class NonLocal(WithMemory):
    """Non-local self-similarity: each patch against its nearest ones, across scales (Buades, Coll & Morel 2005).

        R(x) = mean_p sum_j w_pj |P_p x - P_j x|^2 / D,   sum_j w_pj = 1,   w_pj ~ exp(-d_pj / mean d)

    P_p takes the patch at p, of D entries. j runs over the patches nearest to it in the current estimate and in smaller
    versions of it (recurrence across scales: Glasner, Bagon & Irani 2009), without the patch itself; d is their distance at
    that time. Nearest patches and weights are searched again every few steps, among a random choice where the image has more.

    Attributes:
        size: Side of the patches, in pixels.
        neighbours: Nearest patches that each patch is compared with.
        scales: Scales that are searched; 1 is the image itself.
        every: Steps between two looks at the estimate.
        queries: Patches that are compared, at most.
        candidates: Patches that are searched, at most.
    """

    size: int = 5
    neighbours: int = 5
    scales: tuple[float, ...] = (1.0, 0.5)
    every: int = 50
    queries: int = 2048
    candidates: int = 16384

    def __post_init__(self) -> None:
        _check_patch(self, self.size, self.every, self.scales)
        # Of two candidates one may be the patch itself.
        if min(self.neighbours, self.queries) < 1 or self.candidates < 2 or self.scales[0] != 1:
            raise SettingsError("NonLocal needs at least 1 neighbour, 1 query and 2 candidates, and 1 as the first scale.")

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """The nearest patches of x, and their weights."""
        pixels, shapes = pyramid(x, self.scales)
        all_patches = places(shapes, self.size)
        own = int((all_patches.scale == 0).sum())
        if own < 2:
            raise SettingsError(f"NonLocal finds fewer than two patches of {self.size} pixels in an image of {tuple(x.shape)}.")
        asked = _choose(own, self.queries, step)
        offered = _choose(len(all_patches.first), self.candidates, step + 1)
        index = (all_patches.first[:, None] + all_patches.offsets[all_patches.scale]).to(x.device)
        count = min(self.neighbours + 1, len(offered))
        distances, near = nearest_patches(pixels[index[asked]], pixels[index[offered]], count)
        near = offered.to(x.device)[near]
        distances = torch.where(near == asked.to(x.device)[:, None], torch.inf, distances)
        order = distances.argsort(1)[:, : count - 1]
        distances, near = distances.gather(1, order), near.gather(1, order)
        usual = distances.mean().clamp_min(torch.finfo(x.dtype).tiny)
        return {
            "queries": index[asked][:, None],
            "neighbours": index[near],
            "weights": torch.softmax(-distances / usual, 1),
        }

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The weighted distances."""
        pixels, _ = pyramid(x, self.scales)
        squared = (gather(pixels, memory["queries"]) - gather(pixels, memory["neighbours"])).square().mean(2)
        return (memory["weights"] * squared).sum(1).mean()


@dataclass(frozen=True)
class LowRank(WithMemory):
    """Nuclear norm of groups of similar patches, which is small for matrices of low rank (for video Ji, Liu, Shen & Xu 2010).

        R(x) = mean over groups of 1/(K D) sum_i ( sqrt(s_i^2 + epsilon^2) - epsilon )

    s are the singular values of a group: K patches of D entries, less their mean patch. A group is a random patch and those
    nearest to it, searched again every few steps. All singular values count alike; Dong, Shi & Li (2013) and WNNM (Gu et al.
    2014) shrink large ones less, which this does not.

    Attributes:
        size: Side of the patches, in pixels.
        group: Patches in a group, K.
        groups: Number of groups.
        every: Steps between two looks at the estimate.
        candidates: Patches that are searched, at most.
        epsilon: Constant inside the root, in units of a singular value, above 0.
    """

    size: int = 6
    group: int = 24
    groups: int = 128
    every: int = 50
    candidates: int = 16384
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        _check_patch(self, self.size, self.every)
        if self.group < 2 or min(self.groups, self.candidates) < 1 or not self.epsilon > 0:
            raise SettingsError("LowRank needs groups of at least 2 patches, at least 1 of them, and epsilon above 0.")

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """The groups of x."""
        patches = places([tuple(x.shape)], self.size)
        index = (patches.first[:, None] + patches.offsets[patches.scale]).to(x.device)
        offered = index[_choose(len(index), self.candidates, step + 1)]
        asked = index[_choose(len(index), self.groups, step)]
        pixels = x.flatten()
        _, near = nearest_patches(pixels[asked], pixels[offered], min(self.group, len(offered)))
        return {"groups": offered[near]}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The mean of the nuclear norms."""
        matrices = gather(x.flatten(), memory["groups"])
        matrices = matrices - matrices.mean(1, keepdim=True)
        # Eigenvalues, squared singular values, have a finite gradient where two coincide; singular vectors have not.
        with torch.autocast(x.device.type, enabled=False):
            squared = torch.linalg.eigvalsh(matrices @ matrices.mT).clamp_min(0)
        return smooth_root(squared, self.epsilon).sum(1).mean() / (matrices.shape[1] * matrices.shape[2])


@dataclass(frozen=True, eq=False)
class SlicedWasserstein(WithMemory):
    """Distance of distributions: the patches of the image, and those of its smaller self or of an exemplar.

        R(x) = mean over directions v, |v| = 1, and scales of  mean_q ( Q_q(<v, P x>) - Q_q(<v, P e>) )^2

    Q_q is the q-th quantile over all patches P. e is an exemplar (Elnekave & Weiss 2022), or the current estimate at a smaller
    scale, where patches of a sharp and clean image occur again (Glasner, Bagon & Irani 2009; Zontak & Irani 2011). The
    directions are drawn, and the smaller image is made, again every few steps. Against the image itself they leave the mean of
    a patch out, for tones are the same at all scales.

    Attributes:
        size: Side of the patches, in pixels.
        directions: Number of directions.
        scales: Scales at which the image is an example for itself; with an exemplar, those at which both are compared.
        exemplar: File of an image, or the image (1, C, h, w); "" for the image's own recurrence.
        every: Steps between two looks at the estimate.
    """

    size: int = 5
    directions: int = 32
    scales: tuple[float, ...] = (0.5,)
    exemplar: str | Tensor = ""
    every: int = 1

    def __post_init__(self) -> None:
        _check_patch(self, self.size, self.every, self.scales)
        if self.directions < 1:
            raise SettingsError(f"SlicedWasserstein needs at least 1 direction, got {self.directions}.")

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """Directions, and the example's quantiles along them."""
        shape = (self.directions, x.shape[1], self.size, self.size)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        if self._own_example:
            drawn = drawn - drawn.mean((2, 3), keepdim=True)
        directions = F.normalize(drawn.flatten(1)).view(shape).to(x)
        examples = [_project(self._example(x, scale), directions) for scale in self.scales]
        quantiles = {
            f"quantiles{index}": _quantiles(example, _project(own, directions).shape[1])
            for index, (example, own) in enumerate(zip(examples, self._own(x), strict=True))
        }
        return {"directions": directions, **quantiles}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The distance of x to the example's quantiles."""
        own = [_project(image, memory["directions"]).sort(1).values for image in self._own(x)]
        return torch.stack([(q - memory[f"quantiles{i}"]).square().mean() for i, q in enumerate(own)]).mean()

    @property
    def _own_example(self) -> bool:
        return isinstance(self.exemplar, str) and not self.exemplar

    def _own(self, x: Tensor) -> list[Tensor]:
        """What is compared at each scale."""
        return [x if self._own_example else shrink(x, scale) for scale in self.scales]

    def _example(self, x: Tensor, scale: float) -> Tensor:
        return shrink(x if self._own_example else guide_like(x, self.exemplar, "SlicedWasserstein"), scale)


def _project(x: Tensor, directions: Tensor) -> Tensor:
    """<v, P x>: (directions, patches)."""
    if min(x.shape[-2:]) < directions.shape[-1]:
        raise SettingsError(f"An image of {x.shape[-1]}x{x.shape[-2]} has no patch of {directions.shape[-1]} pixels.")
    return F.conv2d(x, directions).flatten(2)[0]


def _quantiles(values: Tensor, count: int) -> Tensor:
    """This many evenly spaced quantiles of each row, interpolated, (rows, count)."""
    return F.interpolate(values.sort(1).values[None], count, mode="linear", align_corners=count > 1)[0]
