"""Every subset of the players of a game: the priors of a study."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

Coalition = frozenset[str]


def subsets(players: Iterable[str]) -> Iterator[Coalition]:
    """All subsets of the players, the empty one first, the smaller before the larger."""
    given = list(players)
    for size in range(len(given) + 1):
        for chosen in combinations(given, size):
            yield frozenset(chosen)


def coalitions(players: Sequence[str]) -> list[Coalition]:
    """All subsets of the players, the empty one first, the smaller before the larger, each in the order of the players."""
    return list(subsets(players))
