"""Fusion of terms: the weights lambda_k of one fit, found from data that no fit has seen, and from no ground truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import Interrupted, SettingsError
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


def most_fits(terms: Terms, selection: Selection) -> int:
    """How many short fits :func:`tune` will make.

    Args:
        terms: To weigh.
        selection: Whose replicates are fitted.

    Returns:
        At most so many; each takes :data:`SHORT` of the recipe's steps.
    """
    replicates = selection.fits - selection.refit
    return replicates * (1 + len(terms) * (len(FACTORS) + REFINEMENTS))


def scale_weight(term: Term, factor: float) -> Term:
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
    hooks: HooksOf = no_hooks,
) -> Tuned:
    """Weights of the terms that give the smallest error at data which the fits do not see.

    One term after the other: a coarse grid of factors of its given weight, then a golden section in the logarithm around the
    best. Each trial is a short fit to a replicate of the task, begun where a first one without priors has come to, and is worth
    its smallest score.

    Args:
        task: To restore.
        preset: Of the network.
        terms: With the weights to begin at.
        selection: How data are held back; see :func:`hybrid_dip.fusion.stacking.default_selection`.
        seed: Of the fits.
        device: Where.
        time_budget: Seconds for each fit.
        hooks: What surrounds each short fit; the arm in its name says which factors are tried.

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
    search = _Search(replace(recipe, steps=short), listed, chosen, replicates, seed, device, time_budget, hooks)
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
        scores = Scores(replicate.score)

        def hooks(name: FitName) -> FitHooks:
            around = self.hooks(replace(name, arm=f"{label}, {reason} {number + 1}"))
            return replace(around, observers=[*around.observers, scores])

        found = restore(
            replicate.task,
            preset=recipe,
            regularisers=weighted,
            rule=BestScore(replicate.score, recipe.steps, reason),
            seed=self.seed,
            device=self.device,
            tile=0,
            time_budget=self.time_budget,
            hooks=hooks,
        )
        if found.fits[-1].reason == "interrupted":
            raise Interrupted(f"Interrupted in {label}; repeat the command to begin this search again.")
        return float(torch.stack(scores.values).min()), found.fits[0].state["network"]


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
