"""The preset ``fast``, a table. benchmarks/README.md gives the reason for each choice, and what it was measured on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.contracts import Task
from hybrid_dip.fitting.iterates import Growing
from hybrid_dip.fitting.optimizers import OptimizerFactory, adam, muon
from hybrid_dip.networks import latents
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.quantisation import knows_steps, nearest_within
from hybrid_dip.problem.tiles import can_be_tiled
from hybrid_dip.recipes.original import NOISE, hardly_known, original
from hybrid_dip.recipes.quick import quick
from hybrid_dip.recipes.recipe import ALL_STEPS, Recipe
from hybrid_dip.stopping import Discrepancy

EVEN = partial(
    networks.skip,
    down=(32, 32, 32, 32, 28),
    up=(32, 28, 28, 28, 28),
    skip=(4,) * 5,
    upsample="bilinear",
    padding="reflection",
)
"""The standard network at a quarter of its width. 28 channels from below and 4 of the skip make 32 at each convolution on the
way up: processors compute in blocks of 16 channels, of which 36 would fill three."""

EVEN_WIDE = partial(EVEN, down=(64, 64, 64, 64, 60), up=(64, 60, 60, 60, 60), skip=(16,) * 5)
"""The same at half the standard network's width, with four times the channels in each skip."""

LARGE = 192
"""Side in pixels from which on a task takes its row for large images."""
TILE = 384
"""Side in pixels up to which the whole image is fitted at once."""

STEPS_NOT_KNOWN = (
    "How the file was compressed is not known, so the image is fitted like a noisy one: give the JPEG file itself, or its "
    "quality (--quality)."
)

_BETAS = (0.8, 0.9)
_MUON = partial(muon, betas=_BETAS)


@dataclass(frozen=True)
class Row:
    """What the preset takes for one kind of task.

    Attributes:
        runs: Fits whose images are averaged.
        steps: Steps of each fit of 128x128 pixels; larger images take more, by the power 3/2 of their side.
        share: Steps of all fits together at most, as a share of the original's; None lets the share grow with the image.
        optimizer: Learning rate -> optimiser factory.
        jitter: Factor of the original's jitter.
        network: (in_channels, out_channels) -> module.
        latent: size=(H, W) -> z.
    """

    runs: int = 2
    steps: int = 1000
    share: float | None = None
    optimizer: Callable[[float], OptimizerFactory] = _MUON
    jitter: float = 1.0
    network: Callable[..., nn.Module] = EVEN
    latent: Callable[..., Tensor] = NOISE


_ROWS: Mapping[str, Row] = {
    "denoise": Row(optimizer=partial(adam, betas=_BETAS)),
    "missing-pixels": Row(runs=3, steps=1850),
    "super-resolve": Row(steps=400),
    "jpeg": Row(steps=500),
}
_LARGE_ROWS: Mapping[str, Row] = {
    "denoise": Row(runs=3, share=0.84, optimizer=partial(_MUON, filters=2.0), jitter=2 / 3),
    "missing-pixels": Row(runs=4, steps=1850, share=0.36, network=EVEN_WIDE, latent=partial(latents.uniform, channels=64)),
}


def fast(task: Task) -> Recipe:
    """Near the original's best quality in a tenth of its time: several short fits of a narrow network, averaged.

    Nothing in it is learned but a noise level that is not given (:mod:`hybrid_dip.problem.noise_network`). A fit of known
    Gaussian noise ends by the discrepancy principle, every other one after a fixed number of steps; flash takes the recipe of
    ``quick``, and pictures of what a classifier sees that of ``original``. The image of a JPEG file is brought to what the
    file says of it. Images are fitted in tiles from some size on, where A is local.

    Args:
        task: Any task; benchmarks/README.md says on which ones it was measured.

    Returns:
        The recipe.
    """
    if task.name in ("invert-features", "maximise-activation"):
        return original(task)
    lean = quick(task)
    if task.name == "flash":
        return lean
    side = math.sqrt(task.shape[-1] * task.shape[-2])
    row = _row(task, side)
    known = task.name == "denoise" and task.fidelity is gaussian and bool(task.noise_sigma)
    return replace(
        lean,
        network=row.network,
        latent=row.latent,
        steps=_steps(task, row, side / 128, stops_itself=known),
        lr=0.005,
        optimizer=row.optimizer,
        jitter=lean.jitter * row.jitter,
        average=Growing(1 / 9),
        fallback=None,
        runs=row.runs,
        rule=Discrepancy() if known else ALL_STEPS,
        refine=nearest_within if knows_steps(task) else None,
        note=STEPS_NOT_KNOWN if task.name == "jpeg" and not knows_steps(task) else lean.note,
        tile=TILE if can_be_tiled(task) else None,
    )


def _row(task: Task, side: float) -> Row:
    few = task.name == "missing-pixels" and hardly_known(task)
    large = _LARGE_ROWS.get(task.name) if side >= LARGE and not few else None
    return large or _ROWS.get(task.name, Row())


def _steps(task: Task, row: Row, scale: float, *, stops_itself: bool) -> int:
    """Steps of each fit: as many as the time allows where a rule ends it, otherwise as many as the size needs."""
    share = row.share or min(0.6 * max(scale, math.sqrt(scale)), 0.9)
    most = original(task).steps * share / row.runs
    return round(most if stops_itself else min(max(200, row.steps * scale**1.5), most))
