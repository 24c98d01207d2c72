"""What a few images say about others: the interval of a mean, and whether one arm is better than another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 9999
CONFIDENCE = 0.95
FEW = 8
"""Number of images from which the interval of their mean is the bootstrap's."""
ABOUT_INTERVALS = f"95 % interval over images (Student's below {FEW} images, else the bootstrap's)"
"""How the reports call :func:`interval`."""
FEWEST = 6
"""The fewest images for a test: with five the smallest p of a two-sided Wilcoxon test is 2 / 2^5 = 0.0625."""


def interval(values: Any) -> tuple[float, float]:
    """95 % interval of a mean: Student's for fewer than :data:`FEW` values, else by the bootstrap.

    The bootstrap draws nothing beyond the values it has: of three normal ones it covers the mean in 74 of 100 cases, of six
    in 92. Student's covers it in 95, as long as values are about normal. From eight on, percentiles follow skewed values. The
    plain ones are too narrow: they use the sample's variance with n in place of n - 1, and a normal quantile in place of
    Student's. They are therefore taken at Phi(-sqrt(n / (n - 1)) t) instead of 2.5 %, t being Student's quantile of n - 1
    degrees (Hesterberg 2015, "What teachers should know about the bootstrap").

    Args:
        values: One value for each image.

    Returns:
        Lower and upper end; NaN for fewer than two values, which say nothing about other images.
    """
    from scipy import stats

    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    t = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    if n < FEW:
        half = t * values.std(ddof=1) / np.sqrt(n)
        return float(values.mean() - half), float(values.mean() + half)
    resampled = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0, batch=1000)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * t)
    low, high = np.quantile(resampled.bootstrap_distribution, [tail, 1 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that the chance of any false one stays below the level (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be smaller than one before it, or above 1.

    Args:
        p_values: P-values of the family of tests.

    Returns:
        The corrected values, in the same order.
    """
    m = len(p_values)
    corrected, largest = [0.0] * m, 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline, image by image.

    Attributes:
        mean: Mean of the differences.
        low: Lower end of its interval; NaN for one image.
        high: Upper end of its interval.
        images: Number of images that both have.
        p: P-value of Wilcoxon's signed-rank test, two-sided, corrected by Holm; None where no test is possible.
    """

    mean: float
    low: float
    high: float
    images: int
    p: float | None


def compare(differences: Mapping[str, Sequence[float]]) -> dict[str, Comparison]:
    """Compare arms with one baseline, as one family of tests.

    Args:
        differences: Arm -> arm minus baseline for each image, after a mean over the seeds.

    Returns:
        Arm -> comparison. There is no test for fewer than :data:`FEWEST` images, or where no image differs.
    """
    from scipy.stats import wilcoxon

    raw = {}
    for arm, values in differences.items():
        if len(values) >= FEWEST and any(values):
            raw[arm] = float(wilcoxon(np.asarray(values, dtype=float)).pvalue)
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    comparisons = {}
    for arm, values in differences.items():
        low, high = interval(values)
        mean = float(np.mean(values)) if len(values) else float("nan")
        comparisons[arm] = Comparison(mean, low, high, len(values), corrected.get(arm))
    return comparisons
