"""Would a difference of a useful size have been seen? Planted in the scatter that was measured."""

from collections.abc import Sequence
from math import ceil, log

from rheostat.studies.record import Measurement

MISSED = 0.05


def seen_through(one: Measurement, size: float) -> bool:
    """Tell whether a difference of this size, in the scatter that was measured, would lie above zero."""
    return one.low - (one.effect - one.control) + size > 0


def fewest(size: float) -> int:
    """Return how many units it takes that a share of this size shows in one of them at least, but for 5 % of draws."""
    return ceil(log(MISSED) / log(1 - size))


def would_be_seen(deciding: Sequence[Measurement], size: float) -> int:
    """Return in how many comparisons a difference of this size would lie above zero.

    The scatter is the measured one. Few units that are all alike have none, whatever the others are like: so the units
    must be enough for a share of this size to show.

    Args:
        deciding: the comparisons.
        size: a difference of shares, between 0 and 1.
    """
    return sum(seen_through(one, size) and one.n >= fewest(size) for one in deciding)


def in_words(deciding: Sequence[Measurement], size: float) -> str:
    """Return the same as a sentence."""
    return f"A difference of {size:g} would have been seen in {would_be_seen(deciding, size)} of {len(deciding)}."
