"""Fusion of terms: the weights lambda_k of one fit, found from data that no fit has seen, and from no ground truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.fusion.stacking import Hooks, default_selection, no_hooks
from hybrid_dip.networks.start import Start
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Moment, Schedule, Term, Terms, as_terms
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.stopping.selection import BestScore, Replicate, Selection

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
    hooks: Hooks = no_hooks,
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
        rule = BestScore(replicate.score, short, chosen.reason)
        found = restore(
            replicate.task,
            preset=recipe,
            regularisers=weighted,
            rule=rule,
            seed=seed,
            device=device,
            tile=0,
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
