from itertools import permutations

import numpy as np
import pytest

from hybrid_dip.study.describe.subsets import subsets
from hybrid_dip.study.reporting.shapley import Game, interactions, shapley

PRIORS = ("architecture", "recurrence", "learned")


def game(value: dict[str, float]) -> Game:
    """Letters of the players -> value."""
    return {frozenset(names): np.array([number]) for names, number in value.items()}


def drawn(players: tuple[str, ...]) -> Game:
    draw = np.random.default_rng(0)
    return {subset: draw.normal(25, 3, size=5) for subset in subsets(players)}


def test_coalitions_are_all_subsets_the_smaller_first() -> None:
    assert ["".join(sorted(subset)) for subset in subsets("abc")] == ["", "a", "b", "c", "ab", "ac", "bc", "abc"]


def test_the_glove_game_has_its_known_answer() -> None:
    """Whoever has a left and a right glove has a pair: a has the only left one (Shapley & Shubik 1969)."""
    gloves = game({"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 1, "bc": 0, "abc": 1})
    found = shapley(gloves, "abc")
    assert [float(found[name][0]) for name in "abc"] == pytest.approx([4 / 6, 1 / 6, 1 / 6], abs=1e-12)


def test_an_additive_game_gives_each_its_own_and_no_interaction() -> None:
    own = {"a": 1.0, "b": 2.0, "c": -0.5}
    additive = {subset: np.array([20 + sum(own[name] for name in subset)]) for subset in subsets("abc")}
    assert {name: float(value[0]) for name, value in shapley(additive, "abc").items()} == pytest.approx(own)
    assert all(abs(float(value[0])) < 1e-12 for value in interactions(additive, "abc").values())


def test_values_average_all_orders_and_sum_to_the_whole() -> None:
    played = drawn(PRIORS)
    expected = {name: np.zeros(5) for name in PRIORS}
    for order in permutations(PRIORS):
        for place, name in enumerate(order):
            expected[name] += (played[frozenset(order[: place + 1])] - played[frozenset(order[:place])]) / 6
    found = shapley(played, PRIORS)
    for name in PRIORS:
        assert found[name] == pytest.approx(expected[name], abs=1e-12)
    together = played[frozenset(PRIORS)] - played[frozenset()]
    assert np.abs(sum(found.values()) - together).max() < 1e-9


def test_the_interaction_of_two_is_the_pair_beyond_both() -> None:
    both = game({"": 20, "a": 25, "b": 24, "ab": 26})
    assert float(interactions(both, "ab")["a", "b"][0]) == 26 - 25 - 24 + 20


def test_an_interaction_is_a_mean_over_orders() -> None:
    """The pair counts as one player who comes somewhere among the others (Grabisch & Roubens 1999)."""
    played = drawn(("a", "b", "c", "d"))
    found = interactions(played, "abcd")["a", "b"]
    expected = np.zeros(5)
    for order in permutations(("ab", "c", "d")):
        rest = frozenset(order[: order.index("ab")])
        expected += (played[rest | set("ab")] - played[rest | {"a"}] - played[rest | {"b"}] + played[rest]) / 6
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_missing_coalition_is_an_error() -> None:
    with pytest.raises(KeyError):
        shapley(game({"": 0, "a": 1, "b": 1}), "ab")
