"""Would a difference of a useful size have been seen? Planted in the scatter that was measured."""

from collections.abc import Sequence

from rheostat.studies.record import Measurement


def would_be_seen(deciding: Sequence[Measurement], size: float) -> int:
    """Return in how many comparisons a difference of this size, in the measured scatter, would lie above zero."""
    return sum(one.low - (one.effect - one.control) + size > 0 for one in deciding)


def in_words(deciding: Sequence[Measurement], size: float) -> str:
    """Return the same as a sentence."""
    return f"A difference of {size:g} would have been seen in {would_be_seen(deciding, size)} of {len(deciding)}."
