import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from hybrid_dip.study.reporting import statistics
from hybrid_dip.study.reporting.statistics import compare, holm, interval


def test_the_interval_of_many_is_the_bootstrap_s() -> None:
    assert all(math.isnan(end) for end in interval([30.0]))
    values = np.random.default_rng(0).normal(30, 2, 200)
    low, high = interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)  # what it must come to for many images
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval(values) == (low, high), "drawn with a seed"


def test_the_interval_of_few_is_student_s() -> None:
    """By hand: of 1, 2 and 3 the deviation is 1, and the quantile of two degrees 4.303."""
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-4)
    values = np.random.default_rng(3).normal(0, 1, 12)
    half = 2.201 * values.std(ddof=1) / math.sqrt(12)
    low, high = interval(values)
    assert high - low == pytest.approx(2 * half, rel=0.1), "as wide where it is the bootstrap's"


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 8, 30])
def test_intervals_cover_the_mean_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    draw = np.random.default_rng(1)
    intervals = [interval(draw.normal(0, 1, n)) for _ in range(1500)]
    assert 0.93 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.97


@pytest.mark.parametrize("n", [3, 4, 6])
def test_intervals_of_few_skewed_values_cover_nearly_as_often(n: int) -> None:
    """Gamma-distributed values, whose skewness is 1. The bootstrap covers in 74, 85 and 91 of 100 cases."""
    draw = np.random.default_rng(2)
    intervals = [interval(draw.gamma(4, 1, n)) for _ in range(1500)]
    assert np.mean([low <= 4 <= high for low, high in intervals]) >= 0.91


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_rejects_what_its_definition_rejects() -> None:
    """Step down: the k-th smallest is rejected as long as all before it are, and it is at most level / (m - k)."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        p = draw.uniform(0, 0.1, 6)
        for level in (0.01, 0.05, 0.1):
            rejected = set()
            for k, index in enumerate(np.argsort(p)):
                if p[index] > level / (6 - k):
                    break
                rejected.add(int(index))
            assert {i for i, value in enumerate(holm(list(p))) if value <= level} == rejected


def test_arms_are_compared_by_wilcoxon_corrected_by_holm() -> None:
    draw = np.random.default_rng(0)
    differences = {"good": list(draw.normal(1, 0.3, 10)), "equal": list(draw.normal(0, 1, 10)), "few": [1.0, 2.0, 3.0]}
    found = compare(differences)
    raw = [float(wilcoxon(differences[arm]).pvalue) for arm in ("good", "equal")]
    assert [found[arm].p for arm in ("good", "equal")] == pytest.approx([min(1, 2 * raw[0]), max(2 * raw[0], raw[1])])
    assert (found["few"].p, found["few"].images, found["few"].mean) == (None, 3, 2.0)


def test_five_images_are_too_few_for_a_test() -> None:
    assert wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0]).pvalue > 0.05
    found = compare({"five": [1.0, 2.0, 3.0, 4.0, 5.0], "same": [0.0] * 8})
    assert (found["five"].p, found["same"].p) == (None, None)
