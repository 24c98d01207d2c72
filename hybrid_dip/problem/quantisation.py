"""What a JPEG file says of an image: each coefficient of its blocks lies within half a step of the file's own.

The encoder takes brightness and two colour differences (ITU-R BT.601), averages colour over pixels where it has less
resolution, transforms blocks of 8x8 (an orthonormal DCT), and rounds each coefficient to a multiple of its step (ITU-T T.81).
So the images that a file can come from are a box: convex, with a projection that costs two transforms. Zakhor 1992 restored by
projections onto it, and called it the quantisation constraint.

The box is made of the decoded image. Decoding rounds pixels to 8 bits and cuts them off at black and white; as coefficients are
multiples of their steps, the nearest multiples are mostly the file's own. Blocks that the image shows in part, at its border,
are known up to what lies beyond, which may be anything.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.contracts import Record, Task
from hybrid_dip.images.compression import BLOCK, Compression, Table
from hybrid_dip.problem.operators import Locality

BT601 = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
"""Brightness and the two colour differences of (R, G, B)."""
MIDDLE = 128 / 255
"""The brightness that is coded as zero."""
BEYOND = 40
"""Rounds in which what lies beyond the border is sought, where there are blocks that the image shows in part."""


class Quantised(nn.Module):
    """A x = x for an image that was read from a JPEG file, whose steps bound what x can be: see :meth:`box`.

    Args:
        compression: How the file was compressed.
    """

    def __init__(self, compression: Compression):
        super().__init__()
        self.compression = compression
        self.locality = Locality(period=math.lcm(*compression.group), identity=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x

    def box(self, y: Tensor) -> "Box":
        """The images that a decoded one can come from.

        Args:
            y: The decoded image, (1, C, H, W); or a part of it that begins at a multiple of the period.

        Returns:
            The box.
        """
        return Box(tuple(_bounds(plane, y) for plane in _planes(self.compression)))


@dataclass(frozen=True)
class Plane:
    """One of the two kinds of planes that are coded: the brightness, or the colours.

    Attributes:
        channels: Which of the brightness and the two colour differences it holds.
        table: The steps.
        spacing: Pixels from one value to the next, down and across.
        corner: Place of the first pixel in its block, down and across, in pixels.
    """

    channels: slice
    table: Table
    spacing: tuple[int, int]
    corner: tuple[int, int]

    @property
    def block(self) -> tuple[int, int]:
        """Height and width in pixels of a block."""
        return BLOCK * self.spacing[0], BLOCK * self.spacing[1]

    def margins(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Pixels from an image (H, W) to whole blocks: left, right, top, bottom."""
        (top, left), (height, width) = self.corner, self.block
        return left, -(left + size[1]) % width, top, -(top + size[0]) % height


def _planes(compression: Compression) -> Iterator[Plane]:
    """The planes of a file: the brightness, and the colours where there are any."""
    down, across = compression.corner
    yield Plane(slice(0, 1), compression.brightness, (1, 1), (down % BLOCK, across % BLOCK))
    if compression.colour is not None:
        yield Plane(slice(1, 3), compression.colour, compression.spacing, compression.corner)


@dataclass(frozen=True, eq=False, repr=False)
class Bounds(Record):
    """Least and greatest value of each coefficient of a plane, (1, c, rows, columns, 8, 8)."""

    plane: Plane
    low: Tensor
    high: Tensor

    def correction(self, values: Tensor, share: float = 1.0) -> Tensor:
        """What has to be added to a plane's values (1, c, H, W) so that their coefficients are within a share of the bounds.

        What lies beyond the border is free: what makes the distance to the bounds least, found by accelerated descent
        (Nesterov 1983).
        """
        left, right, top, bottom = margins = self.plane.margins((values.shape[-2], values.shape[-1]))
        spare = (1 - share) / 2 * (self.high - self.low)
        low, high = self.low + spare, self.high - spare
        whole = before = F.pad(values, margins, mode="replicate")
        inside = (..., slice(top, whole.shape[-2] - bottom), slice(left, whole.shape[-1] - right))
        for k in range(BEYOND if any(margins) else 1):
            coefficients = transform(F.avg_pool2d(whole, self.plane.spacing))
            moved = inverse(coefficients.clamp(low, high) - coefficients)
            # Each pixel of a mean moves as the mean has to.
            moved = F.interpolate(moved, whole.shape[-2:], mode="nearest")
            nearest = whole + moved
            whole, before = nearest + k / (k + 3) * (nearest - before), nearest
            whole[inside] = values
        return moved[inside]

    @property
    def error(self) -> float:
        """Deviation of the values from the decoded ones that is to be expected, from the coefficients alone.

        Where a coefficient is not rounded to zero its error is even over a step. The others follow a Laplacian (Reininger &
        Gibson 1983), whose width at each frequency is told by how many are not; where all are zero, the error counts as none.
        """
        step = (self.high - self.low).double()[0, 0, 0, 0]
        zero = ((self.low + self.high).abs() < step).double().mean((0, 1, 2, 3))
        beyond = (1 - zero).clamp(1e-9, 1 - 1e-9)
        half = step / 2
        width = -half / beyond.log()
        within = (2 * width**2 - beyond * (half**2 + 2 * half * width + 2 * width**2)) / (1 - beyond)
        even = step**2 / 12
        variance = torch.where(zero < 1, (1 - beyond) * within + beyond * even, 0.0)
        variance[0, 0] = even[0, 0]  # the mean of a block follows no such law
        return math.sqrt(float(variance.mean()))


@dataclass(frozen=True, eq=False, repr=False)
class Box(Record):
    """The images that a JPEG file can come from."""

    bounds: tuple[Bounds, ...]

    @property
    def error(self) -> float:
        """Deviation of the image's brightness from the decoded one's that is to be expected, in units of [0, 1]."""
        return self.bounds[0].error

    def project(self, x: Tensor, share: float = 1.0) -> Tensor:
        """The nearest image of the box, by brightness and colour differences.

        Args:
            x: (1, C, H, W).
            share: Share of half a step within which coefficients are kept; less than 1 for a smaller box around the middle.

        Returns:
            Of the same shape; an image of the box as it is.
        """
        return x + _as_colours(self._correction(x, share))

    def distance(self, x: Tensor) -> Tensor:
        """Mean square of the distance to the box, by brightness and colour differences; the gradient leads straight to it.

        Args:
            x: (1, C, H, W).

        Returns:
            (), 0 within the box.
        """
        with torch.no_grad():
            nearest = _as_parts(x) + self._correction(x)
        return (_as_parts(x) - nearest).square().mean()

    def _correction(self, x: Tensor, share: float = 1.0) -> Tensor:
        parts = _as_parts(x)
        return torch.cat([bounds.correction(parts[:, bounds.plane.channels], share) for bounds in self.bounds], 1)


def _bounds(plane: Plane, y: Tensor) -> Bounds:
    """The bounds that a decoded image sets; worked out in double precision, on the CPU."""
    values = _as_parts(y.detach().cpu().double())[:, plane.channels]
    small = _as_coded(values, plane)
    tall, wide = plane.spacing
    (top, left), (rows, columns) = (plane.corner[0] // tall, plane.corner[1] // wide), small.shape[-2:]
    margins = (left, -(left + columns) % BLOCK, top, -(top + rows) % BLOCK)
    coefficients = transform(F.pad(small, margins, mode="replicate"))
    step = torch.tensor(plane.table, dtype=torch.float64).view(BLOCK, BLOCK) / 255
    shown = _pad_with_zeros(torch.ones_like(values[:, :1]), plane)
    whole = -F.max_pool2d(-shown, plane.block)[..., None, None] > 0
    coefficients = torch.where(whole, (coefficients / step).round() * step, coefficients)
    return Bounds(plane, (coefficients - step / 2).to(y), (coefficients + step / 2).to(y))


def _pad_with_zeros(values: Tensor, plane: Plane) -> Tensor:
    return F.pad(values, plane.margins((values.shape[-2], values.shape[-1])))


def _as_coded(values: Tensor, plane: Plane) -> Tensor:
    """The values that a decoder has enlarged, (1, c, H, W), at the resolution in which they were coded."""
    for axis in (-2, -1):
        spacing, first = plane.spacing[axis], plane.corner[axis] % plane.spacing[axis]
        if spacing > 1:
            enlarge = enlargement(values.shape[axis], spacing, first)
            small = torch.linalg.solve(enlarge.T @ enlarge, enlarge.T @ values.movedim(axis, -2))
            values = small.movedim(-2, axis)
    return values


def enlargement(length: int, spacing: int, first: int) -> Tensor:
    """How decoders enlarge a line of colours: twice by weights 3/4 and 1/4 (libjpeg's triangle), else by repetition.

    Args:
        length: Pixels of the line.
        spacing: Pixels for each value.
        first: Place of the first pixel among those of its value.

    Returns:
        (length, values); rows of zeros for the ends, which may depend on what is not shown.
    """
    place = torch.arange(length) + first
    own = place // spacing
    count = int(own[-1]) + 1
    if spacing != 2:
        return F.one_hot(own, count).double()
    other = own + 2 * (place % 2) - 1
    known = ((other >= 0) & (other < count)).double()[:, None]
    weights = 0.75 * F.one_hot(own, count) + 0.25 * F.one_hot(other.clamp(0, count - 1), count)
    return weights.double() * known


def cosines(like: Tensor) -> Tensor:
    """The orthonormal DCT of 8 values, a matrix (8, 8), of the type and on the device of a tensor."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * k + 1) * k[:, None] * math.pi / (2 * BLOCK)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.to(like)


def transform(values: Tensor) -> Tensor:
    """The DCT of each block: (N, c, H, W), sides multiples of 8 -> (N, c, H/8, W/8, 8, 8)."""
    matrix, (n, channels, height, width) = cosines(values), values.shape
    blocks = values.reshape(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    return matrix @ blocks @ matrix.T


def inverse(coefficients: Tensor) -> Tensor:
    """The blocks of a DCT: (N, c, rows, columns, 8, 8) -> (N, c, 8 rows, 8 columns)."""
    matrix, (n, channels, rows, columns) = cosines(coefficients), coefficients.shape[:4]
    blocks = (matrix.T @ coefficients @ matrix).transpose(3, 4)
    return blocks.reshape(n, channels, BLOCK * rows, BLOCK * columns)


def _as_parts(x: Tensor) -> Tensor:
    """Brightness and colour differences of an image, zero for middle grey; a grey image is its own brightness."""
    middle = x - MIDDLE
    return middle if x.shape[1] == 1 else torch.einsum("ij,njhw->nihw", torch.tensor(BT601).to(x), middle)


def _as_colours(parts: Tensor) -> Tensor:
    """The image whose brightness and colour differences these are, but for the middle: for differences of images."""
    if parts.shape[1] == 1:
        return parts
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(torch.tensor(BT601, dtype=torch.float64)).to(parts), parts)


def knows_steps(task: Task) -> bool:
    """Whether a task has a box: it knows the steps, and no pixels are held out, for a coefficient needs all of its block."""
    return isinstance(task.forward, Quantised) and task.weight is None


def box_of(task: Task) -> Box | None:
    """The images that a task's file can come from; None where the task has no box, see :func:`knows_steps`."""
    return task.forward.box(task.observation) if isinstance(task.forward, Quantised) and knows_steps(task) else None


def nearest_within(x: Tensor, task: Task) -> Tensor:
    """The nearest image that the task's file can come from; x itself where nothing is known of a file.

    Args:
        x: (1, C, H, W).
        task: Any task.

    Returns:
        Of the same shape.
    """
    box = box_of(task)
    return x if box is None else box.project(x)
