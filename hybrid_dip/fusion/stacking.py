"""Fusion of images: :func:`stack` restores with several arms (each prior alone, and all together) and combines their images.

The weights are chosen by data that no fit has seen, without a ground truth. :mod:`hybrid_dip.fusion.tuning` chooses the weights
of one fit's terms in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from hybrid_dip.contracts import Record, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion.arms import Arm
from hybrid_dip.fusion.weights import Combination, combine
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.problem.operators import locality_of, shows_image
from hybrid_dip.restoring.hooks import HooksOf, no_hooks
from hybrid_dip.restoring.result import Result
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Replicate, Selection, steps_of


@dataclass(frozen=True, eq=False, repr=False)
class Stacked(Record):
    """What :func:`stack` gives back.

    Attributes:
        image: The finished image, (1, C, H, W), on the CPU.
        raw: The image before finishing.
        combination: The weights, and how they were chosen.
        arms: Name -> the arm's own result, from all data.
        steps: Steps of all fits.
        seconds: Seconds of all fits.
    """

    image: Tensor
    raw: Tensor
    combination: Combination
    arms: Mapping[str, Result]
    steps: int
    seconds: float

    @property
    def weights(self) -> dict[str, float]:
        """Name -> weight; where there are maps, the mean of the arm's map."""
        weights, maps = self.combination.weights, self.combination.maps
        values = weights if maps is None else maps.mean((-2, -1))
        return dict(zip(self.arms, values.tolist(), strict=True))


def default_selection(task: Task, *, estimated: bool = False) -> Selection:
    """The data that judge.

    Args:
        task: The task to restore.
        estimated: Whether the noise level is an estimate. The bootstrap adds noise of exactly that level, for which an estimate
            is not sure enough. But where noise is alike between neighbours, too few pixels could be held out.

    Returns:
        The bootstrap where y is the whole image with Gaussian noise of a known level, else a held-out tenth.
    """
    known = bool(task.noise_sigma) and task.fidelity is gaussian and (not estimated or task.reach > 1)
    return Bootstrap() if known and shows_image(task) else HeldOut()


OTHER_SEED = 10_000
"""Distance between the seeds of the task's own fits and of its replicates' fits, so that no two fits have the same start."""


def contributions(
    task: Task, replicates: Sequence[Replicate], own: Sequence[Result], judged: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """The image that each arm contributes to a stack.

    A replicate's fit is a second fit of the same arm, with an error that is largely its own. The mean of both is better than
    either. But where data without noise were held out from it, it is much the worse one, and serves for the weights only.

    Args:
        task: The task to restore.
        replicates: The replicates of the task.
        own: For each arm its result from all data.
        judged: For each replicate a row with what each arm made of it, before ``finish``.

    Returns:
        For each arm the mean of its own image and of the mean of its judged ones. It is the arm's own image alone where nothing
        was fitted, or where exact data were held out.
    """
    exact = not task.noise_sigma and task.fidelity is gaussian
    lacking = any(bool(replicate.task.measured < task.measured) for replicate in replicates)
    return [
        result.raw if (exact and lacking) or result.fits[0].steps <= 1 else (result.raw + torch.stack(others).mean(0)) / 2
        for result, others in zip(own, zip(*judged, strict=True), strict=True)
    ]


UNSEEN = 1e-3
"""Where A^T A leaves less than this share of the most it leaves, no data can judge."""


def averages(task: Task) -> bool:
    """Whether y holds averages of pixels, so that no data can judge a part of the image."""
    locality = locality_of(task.forward)
    return locality is not None and locality.averages


def combine_arms(task: Task, combination: Combination, images: Sequence[Tensor]) -> Tensor:
    """Combine images by the weights that data chose; what no data can judge is weighed evenly.

    Where A leaves out single pixels, the held-out ones tell about the missing ones. Where it averages pixels (super-resolution,
    a blur), held-out data judge the averages only. An image with the right averages may be wrong in what A takes away, so the
    part in the null space of A is the plain mean of the images.

    Args:
        task: The task to restore.
        combination: The weights, from :func:`hybrid_dip.fusion.weights.combine`.
        images: K of (1, C, H, W), before ``finish``.

    Returns:
        The image, (1, C, H, W).
    """
    raw = combination(images)
    locality = locality_of(task.forward)
    if locality is None or not locality.averages:
        return raw
    mean = torch.stack(list(images)).mean(0)
    here = task.to(raw.device)
    nothing = replace(here, observation=torch.zeros_like(here.observation), weight=None)
    # An entry of y is a mean of stride^2 pixels: A^T A makes an image in its row space smaller by that factor.
    return raw + nearest_explanation(mean - raw, nothing, UNSEEN * (1 / locality.stride**2))


def stack(
    task: Task,
    arms: Sequence[Arm],
    *,
    selection: Selection | None = None,
    local: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    time_budget: float | None = None,
    progress: bool | None = None,
    hooks: HooksOf = no_hooks,
) -> Stacked:
    """Restore with each arm, and combine the images by weights that held-out data choose.

    Each arm first restores the replicates of the task. Their images are judged by data that they were not made from, which
    gives the weights. Then each arm restores the task itself. :func:`contributions` says what the replicates' images are used
    for beside the weights, and :func:`combine_arms` what is done where no data can judge.

    Args:
        task: The task to restore.
        arms: At least two arms with different names.
        selection: How data are held back. The default is :func:`default_selection`.
        local: Whether maps of weights are tried.
        seed: Seed of each arm's first run.
        device: Where the fits run.
        time_budget: Seconds for each fit.
        progress: Whether a bar shows how each fit goes on, as in :func:`hybrid_dip.restoring.restore.restore`.
        hooks: What surrounds each fit. The arm in its name is "dip", or "dip, held-out 1" for a fit to a replicate.

    Returns:
        The combined image, the weights, and each arm's own result.

    Raises:
        SettingsError: There are fewer than two arms, or two of one name; the selection does not apply; images differ in size.
        Interrupted: A hook asked a fit to end.
    """
    names = [arm.name for arm in arms]
    if len(arms) < 2 or len(set(names)) < len(names):
        raise SettingsError(f"Stacking needs at least two arms of different names, got {', '.join(names) or 'none'}.")
    chosen = default_selection(task) if selection is None else selection
    replicates = chosen.replicates(task)
    run = partial(Arm.run, device=device, hooks=hooks, time_budget=time_budget, progress=progress)
    images: list[list[Tensor]] = []
    made: list[Result] = []
    for number, replicate in enumerate(replicates, 1):
        images.append([])
        for arm in arms:
            label = f"{arm.name}, {chosen.reason} {number}"
            result = run(arm, replicate.task, label, seed=seed + OTHER_SEED * number)
            images[-1].append(result.raw)
            made.append(result)
    combination = combine(images, [replicate.judge.to("cpu") for replicate in replicates], local=local)
    results = {arm.name: run(arm, task, arm.name, seed=seed) for arm in arms}
    made += results.values()
    raw = combine_arms(task, combination, contributions(task, replicates, list(results.values()), images))
    return Stacked(
        image=task.to("cpu").finish(raw),
        raw=raw,
        combination=combination,
        arms=results,
        steps=sum(steps_of(fit) for result in made for fit in result.fits),
        seconds=sum(result.seconds for result in made),
    )
