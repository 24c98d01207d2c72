"""Shapley values and interactions of a game: what each player brought, where every coalition was played.

A game gives each coalition S of the players N a value v(S); here the players are priors, and v(S) is the PSNR with the priors
in S, one number an image. The Shapley value (Shapley 1953) is the only division of v(N) - v(empty) that is linear in v, gives
equal players equal shares and a player who changes nothing nothing: the mean, over all orders in which the players may come, of
what a player adds when it comes.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from hybrid_dip.study.describe.coalitions import Coalition, subsets

Values = NDArray[np.float64]
"""One value an image, (n,)."""

Game = Mapping[Coalition, Values]


def shapley(game: Game, players: Sequence[str]) -> dict[str, Values]:
    """The Shapley value of each player.

        phi_i = sum over S without i of  |S|! (n - |S| - 1)! / n!  (v(S + i) - v(S))

    They sum to v(N) - v(empty).

    Args:
        game: Every coalition -> its values.
        players: Names.

    Returns:
        Player -> values, in the game's unit.

    Raises:
        KeyError: A coalition is missing.
    """
    n = len(players)
    found = {}
    for player in players:
        others = [name for name in players if name != player]
        gains = [
            factorial(len(rest)) * factorial(n - len(rest) - 1) * (game[rest | {player}] - game[rest])
            for rest in subsets(others)
        ]
        found[player] = np.sum(gains, axis=0) / factorial(n)
    return found


def interactions(game: Game, players: Sequence[str]) -> dict[tuple[str, str], Values]:
    """The Shapley interaction index of each pair (Grabisch & Roubens 1999).

        I_ij = sum over S without i, j of  |S|! (n - |S| - 2)! / (n - 1)!  (v(S + i + j) - v(S + i) - v(S + j) + v(S))

    Above 0 two priors bring more together than each by itself; below 0 they know the same.

    Args:
        game: Every coalition -> its values.
        players: Names.

    Returns:
        Pair, in the order of the players -> values, in the game's unit.

    Raises:
        KeyError: A coalition is missing.
    """
    n = len(players)
    found = {}
    for first, second in combinations(players, 2):
        others = [name for name in players if name not in (first, second)]
        gains = [
            factorial(len(rest))
            * factorial(n - len(rest) - 2)
            * (game[rest | {first, second}] - game[rest | {first}] - game[rest | {second}] + game[rest])
            for rest in subsets(others)
        ]
        found[first, second] = np.sum(gains, axis=0) / factorial(n - 1)
    return found
