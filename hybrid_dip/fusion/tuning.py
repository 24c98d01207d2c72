"""Fusion of terms: the weights lambda_k of one fit, chosen by data that no fit has seen, without a ground truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.contracts import Record, Task
from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.fitting.bar import is_shown
from hybrid_dip.fusion.stacking import default_selection
from hybrid_dip.networks.start import Start
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Moment, Schedule, Term, Terms, as_terms
from hybrid_dip.restoring.hooks import FitHooks, FitName, HooksOf, no_hooks
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.stopping.selection import BestScore, Replicate, Scores, Selection

FACTORS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The coarse grid: factors of the weight that was given."""
GOLDEN = (math.sqrt(5) - 1) / 2
REFINEMENTS = 4
"""Number of evaluations in the golden section."""
SHORT = 0.3
"""Share of the recipe's steps that a short fit takes."""


@dataclass(frozen=True, eq=False, repr=False)
class Trial(Record):
    """What some factors are worth.

    Attributes:
        factors: Name of a term -> factor of its given weight.
        score: Smallest score along a short fit, averaged over the replicates.
    """

    factors: Mapping[str, float]
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Tuned(Record):
    """What :func:`tune` gives back.

    Attributes:
        terms: The terms with the weights that were chosen. A term whose best factor is 0 is left out.
        factors: Name of a term -> factor of its given weight.
        trials: All factors that were tried, in order.
    """

    terms: Terms
    factors: Mapping[str, float]
    trials: tuple[Trial, ...]


def most_fits(terms: Terms, selection: Selection) -> int:
    """How many short fits :func:`tune` makes at most.

    Args:
        terms: The terms to weigh.
        selection: How data are held back.

    Returns:
        The number of fits. Each takes :data:`SHORT` of the recipe's steps.
    """
    replicates = selection.fits - selection.refit
    return replicates * (1 + len(terms) * (len(FACTORS) + REFINEMENTS))


def scale_weight(term: Term, factor: float) -> Term:
    """Multiply the weight of a term.

    Args:
        term: A term with any weight.
        factor: Factor of at least 0.

    Returns:
        The term with the new weight.
    """
    weight = term.weight
    if isinstance(weight, Balanced):
        return replace(term, weight=Balanced(weight.rho * factor))
    if callable(weight):
        return replace(term, weight=_Scaled(weight, factor))
    return replace(term, weight=weight * factor)


@dataclass(frozen=True)
class _Scaled:
    """A schedule times a factor."""

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
    progress: bool | None = None,
    hooks: HooksOf = no_hooks,
) -> Tuned:
    """Choose the weights of the terms that give the smallest error at data which the fits do not see.

    The terms are weighed one after the other: on a coarse grid of factors of the given weight, then by a golden section in the
    logarithm around the best. Each trial is a short fit to a replicate of the task, and worth its smallest score. It begins
    where a first fit without priors has ended.

    Args:
        task: The task to restore.
        preset: The network's preset.
        terms: The terms with the weights to begin at.
        selection: How data are held back. The default is :func:`hybrid_dip.fusion.stacking.default_selection`.
        seed: Seed of the fits.
        device: Where the fits run.
        time_budget: Seconds for each fit.
        progress: Whether a bar shows how each fit goes on, as in :func:`hybrid_dip.restoring.restore.restore`.
        hooks: What surrounds each short fit. The arm in its name says which factors are tried.

    Returns:
        The weights, and all that was tried.

    Raises:
        SettingsError: There are no terms; the selection does not apply; the recipe has too few steps for short fits.
        Interrupted: A hook asked a fit to end.
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
    search = _Search(replace(recipe, steps=short), listed, chosen, replicates, seed, device, time_budget, progress, hooks)
    search.begin()
    factors = dict.fromkeys((term.name for term in listed), 0.0)
    for term in listed:
        score = partial(search.score_with, factors, term.name)
        best = min(FACTORS, key=score)
        factors[term.name] = _golden(score, best) if best > 0 else 0.0
    return Tuned(search.weigh(factors), factors, tuple(search.trials))


@dataclass(eq=False)
class _Search:
    """Short fits to the replicates of a task, and what the factors that were tried are worth.

    Attributes:
        recipe: What is fitted, for a short fit's number of steps.
        terms: The terms with the weights that were given.
        selection: How data are held back.
        replicates: The replicates of the task.
        seed: Seed of each fit.
        device: Where the fits run.
        time_budget: Seconds for each fit, or None.
        progress: Whether a bar shows how each fit goes on.
        hooks: What surrounds each fit.
        starts: For each replicate the parameters that its fits begin with.
        trials: What has been tried, in order.
    """

    recipe: Recipe
    terms: Terms
    selection: Selection
    replicates: Sequence[Replicate]
    seed: int
    device: str | torch.device
    time_budget: float | None
    progress: bool | None
    hooks: HooksOf
    starts: list[Start] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def begin(self) -> None:
        """Fit each replicate without priors; what it comes to is where all later fits begin."""
        for number in range(len(self.replicates)):
            state = self._fit(number, self.recipe, Terms(), "without priors")[1]
            self.starts.append(Start(Path("warm"), state, {}, ""))

    def weigh(self, factors: Mapping[str, float]) -> Terms:
        """The terms with their weights multiplied, without those whose factor is 0."""
        return Terms(scale_weight(term, factors[term.name]) for term in self.terms if factors[term.name] > 0)

    def score_with(self, factors: Mapping[str, float], name: str, factor: float) -> float:
        """The score of some factors, one of which is replaced; what was tried before is not fitted again."""
        tried = {**factors, name: factor}
        for trial in self.trials:
            if trial.factors == tried:
                return trial.score
        weighted = self.weigh(tried)
        label = ", ".join(f"{name} x {factor:.3g}" for name, factor in tried.items())
        scores = [
            self._fit(number, replace(self.recipe, start=start), weighted, label)[0] for number, start in enumerate(self.starts)
        ]
        self.trials.append(Trial(tried, sum(scores) / len(scores)))
        return self.trials[-1].score

    def _fit(self, number: int, recipe: Recipe, weighted: Terms, label: str) -> tuple[float, Mapping[str, Tensor]]:
        """The smallest score along a short fit to a replicate, and the network's last state."""
        replicate, reason = self.replicates[number], self.selection.reason
        scores, arm = Scores(replicate.score), f"{label}, {reason} {number + 1}"

        def hooks(name: FitName) -> FitHooks:
            around = self.hooks(replace(name, arm=arm))
            return replace(around, observers=[*around.observers, scores])

        result = restore(
            replicate.task,
            preset=recipe,
            regularisers=weighted,
            rule=BestScore(replicate.score, recipe.steps, reason),
            seed=self.seed,
            device=self.device,
            tile=0,
            time_budget=self.time_budget,
            progress=arm if is_shown(self.progress) else False,
            hooks=hooks,
        )
        if result.fits[-1].reason == "interrupted":
            raise Interrupted(f"Interrupted in {label}; repeat the command to begin this search again.")
        return float(torch.stack(scores.values).min()), result.fits[0].state["network"]


def _golden(of: Callable[[float], float], best: float) -> float:
    """Search between the neighbours of the grid's best factor, by golden section in the logarithm (Kiefer 1953)."""
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
