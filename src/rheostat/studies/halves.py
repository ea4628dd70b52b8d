"""Choosing on one half of the units and reporting on the other."""

import numpy as np
from numpy.typing import NDArray

from rheostat.metrics.statistics import Values


def chosen_by_other_half(scores: Values) -> NDArray[np.int64]:
    """Return, per unit, the place with the largest mean score over the other half of the units.

    Halves are the even and the odd units; NaN marks a place that a unit does not have.

    Args:
        scores: (unit, place).
    """
    halves = np.arange(len(scores)) % 2
    chosen = np.empty(len(scores), dtype=np.int64)
    for half in (0, 1):
        other = scores[halves != half]
        has = np.isfinite(other)
        mean = np.where(has, other, 0.0).sum(axis=0) / np.maximum(has.sum(axis=0), 1)
        chosen[halves == half] = int(np.where(has.any(axis=0), mean, -np.inf).argmax())
    return chosen


def at_places(values: Values, chosen: NDArray[np.int64]) -> Values:
    """Return each unit's value (unit,) at its place, from (unit, place)."""
    return np.asarray(values[np.arange(len(values)), chosen])
