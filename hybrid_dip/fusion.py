"""Fusion: how much of which prior, found from data that no fit has seen, and from no ground truth.

:func:`stack` restores with several arms (each prior alone, and together) and combines their images; :func:`tune` looks for the
weights lambda_k of the terms of one fit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.contracts import Moment, Schedule, Task, Term, Terms, as_terms
from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.fidelity import gaussian
from hybrid_dip.operators import Blur, Downsample, Identity
from hybrid_dip.plug_and_play import nearest_explanation
from hybrid_dip.presets import Preset, Recipe
from hybrid_dip.restore import Result, RunHooks, resolve, restore
from hybrid_dip.schedules import Balanced
from hybrid_dip.selection import Bootstrap, HeldOut, Replicate, Scored, Selection, steps_of
from hybrid_dip.stacking import Combination, combine
from hybrid_dip.start import Start

Hooks = Callable[[str, int], RunHooks]
"""Name of a fit, seed -> what surrounds it."""


def _no_hooks(name: str, seed: int) -> RunHooks:
    return RunHooks()


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
        hooks: Hooks,
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
            time_budget=time_budget,
            hooks=lambda one: hooks(label, one),
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
    """The data that judge: the bootstrap where all pixels are seen with Gaussian noise of a known level, else a held-out tenth.

    Args:
        task: To restore.

    Returns:
        The selection.
    """
    whole = isinstance(task.forward, Identity) and task.weight is None
    return Bootstrap() if whole and task.noise_sigma and task.fidelity is gaussian else HeldOut()


OTHER_SEED = 10_000
"""Between the seeds of the task's own fits and those of its replicates, so that their errors are not of one start."""


def brought(
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
"""What an operator leaves less of (squared, as a share of the most it leaves), no data can tell to be right or wrong."""


def averages(task: Task) -> bool:
    """Whether an observation is of averages of pixels, so that there is a part of the image which no data can judge."""
    return isinstance(task.forward, Downsample | Blur)


def combined(task: Task, combination: Combination, images: Sequence[Tensor]) -> Tensor:
    """Images combined by the weights that data chose, but for what no data can judge, which is weighed evenly.

    Where A leaves single pixels away, those that were held out tell about those that are missing. Where it averages pixels
    (super-resolution, a blur), held-out data judge the averages only, and an image that has these right may have wrong what A
    takes away: the part in the null space of A is the plain mean of the images.

    Args:
        task: To restore.
        combination: From :func:`hybrid_dip.stacking.combine`.
        images: K of (1, C, H, W), before ``finish``.

    Returns:
        (1, C, H, W).
    """
    raw = combination(images)
    if not averages(task):
        return raw
    mean = torch.stack(list(images)).mean(0)
    here = task.to(raw.device)
    nothing = replace(here, observation=torch.zeros_like(here.observation), weight=None)
    # A mean of so many pixels: an image in its row space comes out so much smaller.
    most = 1 / task.forward.factor**2 if isinstance(task.forward, Downsample) else 1.0
    return raw + nearest_explanation(mean - raw, nothing, UNSEEN * most)


def stack(
    task: Task,
    arms: Sequence[Arm],
    *,
    selection: Selection | None = None,
    local: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    time_budget: float | None = None,
    hooks: Hooks = _no_hooks,
) -> Stacked:
    """Restore with each arm, and combine the images by weights that held-out data choose.

    Each arm restores the replicates of the task first, whose images are judged by data that they were not made from; then the
    task itself. The weights of the former are used for the latter; see :func:`brought` for what else the former are good for,
    and :func:`combined` for what no data can judge.

    Args:
        task: To restore.
        arms: At least two, of different names.
        selection: How data are held back; see :func:`default_selection`.
        local: Whether maps of weights are tried.
        seed: Of each arm's first run.
        device: Where.
        time_budget: Seconds for each fit.
        hooks: Name of a fit, seed -> what surrounds it.

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
    raw = combined(task, combination, brought(task, replicates, list(results.values()), images))
    return Stacked(
        image=task.to("cpu").finish(raw),
        raw=raw,
        combination=combination,
        arms=results,
        steps=sum(steps_of(fit) for found in made for fit in found.fits),
        seconds=sum(found.seconds for found in made),
    )


FACTORS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the weight that was given: the coarse grid."""
GOLDEN = (math.sqrt(5) - 1) / 2
REFINEMENTS = 4
"""Evaluations of the golden section."""
SHORT = 0.3
"""Share of the recipe's steps that a fit takes on the way."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One short fit on the way to the weights.

    Attributes:
        factors: Of each term's given weight, by name.
        score: Smallest score along the fit.
    """

    factors: Mapping[str, float]
    score: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """What :func:`tune` gives back.

    Attributes:
        terms: With the weights found; those whose best factor is 0 are left out.
        factors: By name.
        trials: All short fits, in order.
    """

    terms: Terms
    factors: Mapping[str, float]
    trials: tuple[Trial, ...]


def budget(terms: Terms, selection: Selection) -> int:
    """How many short fits :func:`tune` will make.

    Args:
        terms: To weigh.
        selection: Whose replicates are fitted.

    Returns:
        At most so many; each takes :data:`SHORT` of the recipe's steps.
    """
    replicates = selection.fits - selection.refit
    return replicates * (1 + len(terms) * (len(FACTORS) + REFINEMENTS))


def scaled(term: Term, factor: float) -> Term:
    """A term whose weight is a factor times as large.

    Args:
        term: With any weight.
        factor: At least 0.

    Returns:
        The term.
    """
    weight = term.weight
    if isinstance(weight, Balanced):
        return replace(term, weight=Balanced(weight.rho * factor))
    if callable(weight):
        return replace(term, weight=_Scaled(weight, factor))
    return replace(term, weight=weight * factor)


@dataclass(frozen=True)
class _Scaled:
    """A schedule, a factor times as large."""

    schedule: Schedule
    factor: float

    def __call__(self, moment: Moment) -> float | Tensor:
        return self.factor * self.schedule(moment)


def tune(
    task: Task,
    preset: str | Preset | Recipe,
    terms: Terms | Sequence[Term],
    *,
    selection: Selection | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    time_budget: float | None = None,
    hooks: Hooks = _no_hooks,
) -> Tuned:
    """Weights of the terms that give the smallest error at data which the fits do not see.

    One term after the other: a coarse grid of factors of its given weight, then a golden section in the logarithm around the
    best. Each trial is a short fit to a replicate of the task, begun where a first one without priors has come to, and is worth
    its smallest score.

    Args:
        task: To restore.
        preset: Of the network.
        terms: With the weights to begin at.
        selection: How data are held back; see :func:`default_selection`.
        seed: Of the fits.
        device: Where.
        time_budget: Seconds for each fit.
        hooks: Name of a fit, seed -> what surrounds it.

    Returns:
        The weights, and how they were found.

    Raises:
        SettingsError: No terms, a selection that does not apply, or too few steps for short fits.
        Interrupted: It was asked to end.
    """
    listed = as_terms(terms)
    if not listed:
        raise SettingsError("There is nothing to weigh: give at least one regulariser, such as tv@0.05.")
    chosen = default_selection(task) if selection is None else selection
    replicates = chosen.replicates(task)
    recipe = replace(resolve(preset, task), runs=1)
    short = round(SHORT * recipe.steps)
    if short < 2:
        raise SettingsError(
            f"A fit of {recipe.steps} steps leaves none for the short fits that look for weights; give more --steps."
        )
    recipe = replace(recipe, steps=short)
    trials: list[Trial] = []

    def fitted(replicate: Replicate, number: int, recipe: Recipe, weighted: Terms, label: str) -> tuple[float, Start]:
        """The smallest score along a short fit, and its last parameters."""
        scores: list[Tensor] = []
        around = hooks(f"{label}, {chosen.reason} {number}", seed)
        watched = replace(
            around, observers=[*around.observers, lambda step: scores.append(replicate.score(step.candidate).detach())]
        )
        rule = Scored(replicate.score, short, chosen.reason)
        found = restore(
            replicate.task,
            preset=recipe,
            regularisers=weighted,
            rule=rule,
            seed=seed,
            device=device,
            time_budget=time_budget,
            hooks=lambda _: watched,
        )
        if found.fits[-1].reason == "interrupted":
            raise Interrupted(f"Interrupted in {label}; repeat the command to begin this search again.")
        return float(torch.stack(scores).min()), Start(Path("warm"), found.fits[0].state["network"], {}, "")

    warm = [fitted(replicate, i, recipe, Terms(), "without priors")[1] for i, replicate in enumerate(replicates, 1)]

    def score(factors: Mapping[str, float]) -> float:
        known = [trial.score for trial in trials if trial.factors == factors]
        if known:
            return known[0]
        weighted = Terms(scaled(term, factors[term.name]) for term in listed if factors[term.name] > 0)
        label = ", ".join(f"{name} x {factor:.3g}" for name, factor in factors.items())
        values = [
            fitted(replicate, i, replace(recipe, start=begun), weighted, label)[0]
            for i, (replicate, begun) in enumerate(zip(replicates, warm, strict=True), 1)
        ]
        trials.append(Trial(dict(factors), sum(values) / len(values)))
        return trials[-1].score

    factors = dict.fromkeys((term.name for term in listed), 0.0)
    for term in listed:

        def of(factor: float, name: str = term.name) -> float:
            return score({**factors, name: factor})

        best = min(FACTORS, key=of)
        factors[term.name] = _golden(of, best) if best > 0 else 0.0
    found = Terms(scaled(term, factors[term.name]) for term in listed if factors[term.name] > 0)
    return Tuned(found, factors, tuple(trials))


def _golden(of: Callable[[float], float], best: float) -> float:
    """Golden-section search for a minimum between the neighbours of the grid's best factor, in the logarithm (Kiefer 1953)."""
    grid = [factor for factor in FACTORS if factor > 0]
    place = grid.index(best)
    low, high = (math.log(grid[max(0, place - 1)]), math.log(grid[min(len(grid) - 1, place + 1)]))
    points = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    values = [of(math.exp(point)) for point in points]
    for _ in range(REFINEMENTS - 2):
        if values[0] <= values[1]:
            high, points, values = points[1], [points[1] - GOLDEN * (points[1] - low), points[0]], [math.nan, values[0]]
            values[0] = of(math.exp(points[0]))
        else:
            low, points, values = points[0], [points[1], points[0] + GOLDEN * (high - points[0])], [values[1], math.nan]
            values[1] = of(math.exp(points[1]))
    tried = {best: of(best), **{math.exp(point): value for point, value in zip(points, values, strict=True)}}
    return min(tried, key=tried.__getitem__)
