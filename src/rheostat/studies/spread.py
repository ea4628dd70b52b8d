"""Drawing a few items of many kinds, so that no kind takes all places."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def spread(items: Sequence[Item], kind_of: Callable[[Item], str], limit: int, seed: int) -> list[Item]:
    """Take items of each kind in turn, in a shuffled order, until `limit` are taken."""
    by_kind: dict[str, list[Item]] = {}
    for index in np.random.default_rng(seed).permutation(len(items)):
        by_kind.setdefault(kind_of(items[index]), []).append(items[index])
    rounds = max((len(group) for group in by_kind.values()), default=0)
    return [group[turn] for turn in range(rounds) for group in by_kind.values() if turn < len(group)][:limit]
