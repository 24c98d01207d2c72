"""Shapley values and interactions of a game: what each player brought, where every subset of them has played.

A game gives each subset S of the players N a value v(S). Here the players are priors, and v(S) is the PSNR with the priors in
S, one number for each image. The Shapley value (Shapley 1953) is the mean, over all orders in which the players may come, of
what a player adds when it comes. It is the only division of v(N) - v(empty) that is linear in v, gives equal players equal
shares, and gives nothing to a player who changes nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from hybrid_dip.study.describe.subsets import Subset, subsets

Values = NDArray[np.float64]
"""One value for each image, (n,)."""

Game = Mapping[Subset, Values]
"""The values of each subset of the players."""


def shapley(game: Game, players: Sequence[str]) -> dict[str, Values]:
    """The Shapley value of each player.

        phi_i = sum over S without i of  |S|! (n - |S| - 1)! / n!  (v(S + i) - v(S))

    They sum to v(N) - v(empty).

    Args:
        game: Each subset of the players -> its values.
        players: Their names.

    Returns:
        Player -> values, in the game's unit.

    Raises:
        KeyError: A subset is missing.
    """
    n = len(players)
    values = {}
    for player in players:
        others = [name for name in players if name != player]
        gains = [
            factorial(len(rest)) * factorial(n - len(rest) - 1) * (game[rest | {player}] - game[rest])
            for rest in subsets(others)
        ]
        values[player] = np.sum(gains, axis=0) / factorial(n)
    return values


def interactions(game: Game, players: Sequence[str]) -> dict[tuple[str, str], Values]:
    """The Shapley interaction index of each pair (Grabisch & Roubens 1999).

        I_ij = sum over S without i, j of  |S|! (n - |S| - 2)! / (n - 1)!  (v(S + i + j) - v(S + i) - v(S + j) + v(S))

    Above 0 two priors bring more together than each alone; below 0 they know the same.

    Args:
        game: Each subset of the players -> its values.
        players: Their names.

    Returns:
        Pair, in the order of the players -> values, in the game's unit.

    Raises:
        KeyError: A subset is missing.
    """
    n = len(players)
    values = {}
    for first, second in combinations(players, 2):
        others = [name for name in players if name not in (first, second)]
        gains = [
            factorial(len(rest))
            * factorial(n - len(rest) - 2)
            * (game[rest | {first, second}] - game[rest | {first}] - game[rest | {second}] + game[rest])
            for rest in subsets(others)
        ]
        values[first, second] = np.sum(gains, axis=0) / factorial(n - 1)
    return values
