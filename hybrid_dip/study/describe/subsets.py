"""Every subset of a study's priors: the coalitions of a game whose players the priors are."""

from collections.abc import Sequence
from itertools import combinations

Subset = frozenset[str]


def subsets(names: Sequence[str]) -> list[Subset]:
    """All subsets of some names, the empty one first, the smaller before the larger."""
    return [frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]
