"""Streams: demonstrations of two classes in a mixed order, and queries asked after them.

The demonstrations for k per class begin those for 2k, so that one stream is asked at every k and under every kind of
label, and effects are differences within streams. A query's class is drawn apart from everything before it: as many of
either class over all streams, whatever the demonstrations and the other queries of its own stream are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from rheostat.base.errors import BadArgument
from rheostat.studies.flipped_labels.texts import TextSet

Deal = Literal["mapped", "permuted"]
"""Labels that follow the classes, or the same labels in random order over the demonstrations."""


@dataclass(frozen=True)
class Example:
    """A text and its class."""

    text: str
    side: int
    """0 or 1."""


@dataclass(frozen=True)
class Stream:
    """Demonstrations and the queries that follow them."""

    shown: tuple[Example, ...]
    """The first 2k hold k of either class, for k a power of two."""
    queries: tuple[Example, ...]


def streams(texts: TextSet, n: int, *, k: int, n_queries: int, seed: int) -> list[Stream]:
    """Return streams of one set of texts; no text stands twice in a stream, and no query in two.

    Args:
        texts: to draw from.
        n: how many, even: half of the streams ask a query of either class at every place.
        k: demonstrations per class, a power of two.
        n_queries: per stream.
        seed: of the draws.

    Raises:
        BadArgument: n is odd, k no power of two, or there are too few texts.
    """
    if n < 2 or n % 2 or k < 1 or k & (k - 1):
        raise BadArgument(f"{n} streams of {k} per class: an even number of streams, and a power of two per class.")
    rng = np.random.default_rng(seed)
    asked = np.stack([rng.permutation(np.arange(n) % 2) for _ in range(n_queries)], axis=1)
    orders = [rng.permutation(len(side)).tolist() for side in texts.texts]
    if min(map(len, orders)) < n * n_queries // 2 + k:
        raise BadArgument(f"{texts.name} holds {list(map(len, orders))} texts of the classes: too few.")
    found = []
    for sides in asked.tolist():
        queries = tuple(Example(texts.texts[side][orders[side].pop()], side) for side in sides)
        found.append(Stream(_shown(texts, k, rng, {one.text for one in queries}), queries))
    return found


def _shown(texts: TextSet, k: int, rng: np.random.Generator, taken: set[str]) -> tuple[Example, ...]:
    drawn = []
    for side, every in enumerate(texts.texts):
        usable = [text for text in every if text not in taken]
        drawn.append([Example(usable[place], side) for place in rng.permutation(len(usable))[:k]])
    shown: list[Example] = []
    for start, end in pairwise((0, *(2**power for power in range(k.bit_length())))):
        part = [example for side in drawn for example in side[start:end]]
        shown += [part[place] for place in rng.permutation(len(part))]
    return tuple(shown)


def dealt(sides: Sequence[int], share: float, deal: Deal, *, seed: int) -> list[int]:
    """Return the side whose label each demonstration gets.

    Args:
        sides: their own.
        share: of the labels of each class that are flipped, exactly.
        deal: `permuted`: in random order afterwards.
        seed: of the draws.

    Raises:
        BadArgument: the share of a class is no whole number of demonstrations.
    """
    rng = np.random.default_rng(seed)
    found = np.array(sides)
    for side in (0, 1):
        places = np.flatnonzero(np.array(sides) == side)
        n = share * len(places)
        if abs(n - round(n)) > 1e-9:
            raise BadArgument(f"{share:.0%} of {len(places)} demonstrations of a class is no whole number.")
        found[rng.permutation(places)[: round(n)]] = 1 - side
    return [int(side) for side in (rng.permutation(found) if deal == "permuted" else found)]
