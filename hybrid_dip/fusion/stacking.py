"""Fusion of images: :func:`stack` restores with several arms (each prior alone, and together) and combines what they make.

The weights come from data that no fit has seen, and from no ground truth; :mod:`hybrid_dip.fusion.tuning` finds those of the
terms of one fit by the same data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.fusion.weights import Combination, combine
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.problem.operators import locality_of, shows_image
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.restoring.hooks import HooksOf, hooks_of_arm, no_hooks
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import Result, restore
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Replicate, Selection, steps_of


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to restore.

    Attributes:
        name: Of the arm.
        preset: SPEC, preset or recipe; presets are asked anew for each task.
        terms: Regularisers.
    """

    name: str
    preset: str | Preset | Recipe
    terms: tuple[Term, ...] = ()

    def run(
        self,
        task: Task,
        label: str,
        *,
        seed: int,
        device: str | torch.device,
        hooks: HooksOf,
        time_budget: float | None = None,
    ) -> Result:
        """Restore.

        Args:
            task: The whole of the data, or a part.
            label: Of the fit, for progress and checkpoints.
            seed: Of the first run.
            device: Where.
            hooks: What surrounds each fit.
            time_budget: Seconds for each fit.

        Returns:
            The result.

        Raises:
            Interrupted: It was asked to end.
        """
        recipe = resolve(self.preset, task)
        found = restore(
            task,
            preset=recipe,
            regularisers=self.terms,
            seed=seed,
            device=device,
            tile=0,
            time_budget=time_budget,
            hooks=hooks_of_arm(hooks, label),
        )
        if found.fits[-1].reason == "interrupted":
            raise Interrupted(f"Interrupted in {label}; what was done is saved.")
        return found


def arms_of(preset: str | Preset | Recipe, terms: Terms) -> list[Arm]:
    """The arms of some priors: the network's alone, each other one with it, and all together.

    Args:
        preset: Of the network.
        terms: The other priors.

    Returns:
        The arms, the first of them called "dip".
    """
    alone = [Arm("dip", preset), *(Arm(f"dip+{term.name}", preset, Terms((term,))) for term in terms)]
    return [*alone, Arm("all", preset, terms)] if len(terms) > 1 else alone


@dataclass(frozen=True, eq=False)
class Stacked:
    """What :func:`stack` gives back.

    Attributes:
        image: Finished, (1, C, H, W), on the CPU.
        raw: Before finishing.
        combination: The weights, and what they are made from.
        arms: Name -> the result of that arm by itself, from all data.
        steps: Of all fits.
        seconds: Of all fits.
    """

    image: Tensor
    raw: Tensor
    combination: Combination
    arms: Mapping[str, Result]
    steps: int
    seconds: float

    @property
    def weights(self) -> dict[str, float]:
        """Name -> weight; where there are maps, their mean."""
        found = self.combination
        values = found.weights if found.maps is None else found.maps.mean((-2, -1))
        return dict(zip(self.arms, values.tolist(), strict=True))


def default_selection(task: Task) -> Selection:
    """The data that judge.

    Args:
        task: The task to restore.

    Returns:
        The bootstrap where y is the whole image with Gaussian noise of a known level, else a held-out tenth.
    """
    return Bootstrap() if shows_image(task) and task.noise_sigma and task.fidelity is gaussian else HeldOut()


OTHER_SEED = 10_000
"""Between the seeds of the task's own fits and those of its replicates, so that their errors are not of one start."""


def contributions(
    task: Task, replicates: Sequence[Replicate], own: Sequence[Result], judged: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """What each arm brings to a stack.

    A replicate's fit is a second one of the same arm, whose error is largely its own: the mean of both is better than either.
    But where data without noise were held out from it, it is by so much the worse one, and serves for the weights only.

    Args:
        task: To restore.
        replicates: Of it.
        own: Each arm's result, made of all data.
        judged: A row a replicate: what each arm made of it, before ``finish``.

    Returns:
        An image an arm: the mean of its own and of the mean of those that are judged, or its own, where nothing was fitted, or
        not to all of exact data.
    """
    exact = not task.noise_sigma and task.fidelity is gaussian
    lacking = any(bool(replicate.task.measured < task.measured) for replicate in replicates)
    return [
        found.raw if (exact and lacking) or found.fits[0].steps <= 1 else (found.raw + torch.stack(others).mean(0)) / 2
        for found, others in zip(own, zip(*judged, strict=True), strict=True)
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
        (1, C, H, W).
    """
    raw = combination(images)
    locality = locality_of(task.forward)
    if locality is None or not locality.averages:
        return raw
    mean = torch.stack(list(images)).mean(0)
    here = task.to(raw.device)
    nothing = replace(here, observation=torch.zeros_like(here.observation), weight=None)
    # A mean of stride^2 pixels: what A^T A leaves of an image in its row space is smaller by that factor.
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
    hooks: HooksOf = no_hooks,
) -> Stacked:
    """Restore with each arm, and combine the images by weights that held-out data choose.

    Each arm first restores the replicates of the task, whose images are judged by data that they were not made from. Then it
    restores the task itself. The weights of the former are used for the latter. What else the former are good for, see
    :func:`contributions`; what no data can judge, see :func:`combine_arms`.

    Args:
        task: To restore.
        arms: At least two, of different names.
        selection: How data are held back; see :func:`default_selection`.
        local: Whether maps of weights are tried.
        seed: Of each arm's first run.
        device: Where.
        time_budget: Seconds for each fit.
        hooks: What surrounds each fit; its name holds the arm, and the replicate where it is not of all data.

    Returns:
        The combined image, the weights, and each arm's own result.

    Raises:
        SettingsError: Fewer than two arms, two of one name, a selection that does not apply, or images of different sizes.
        Interrupted: It was asked to end.
    """
    names = [arm.name for arm in arms]
    if len(arms) < 2 or len(set(names)) < len(names):
        raise SettingsError(f"Stacking needs at least two arms of different names, got {', '.join(names) or 'none'}.")
    chosen = default_selection(task) if selection is None else selection
    replicates = chosen.replicates(task)
    run = partial(Arm.run, device=device, hooks=hooks, time_budget=time_budget)
    images: list[list[Tensor]] = []
    made: list[Result] = []
    for number, replicate in enumerate(replicates, 1):
        images.append([])
        for arm in arms:
            label = f"{arm.name}, {chosen.reason} {number}"
            found = run(arm, replicate.task, label, seed=seed + OTHER_SEED * number)
            images[-1].append(found.raw)
            made.append(found)
    combination = combine(images, [replicate.judge.to("cpu") for replicate in replicates], local=local)
    results = {arm.name: run(arm, task, arm.name, seed=seed) for arm in arms}
    made += results.values()
    raw = combine_arms(task, combination, contributions(task, replicates, list(results.values()), images))
    return Stacked(
        image=task.to("cpu").finish(raw),
        raw=raw,
        combination=combination,
        arms=results,
        steps=sum(steps_of(fit) for found in made for fit in found.fits),
        seconds=sum(found.seconds for found in made),
    )
