"""Choosing on one half of the units and reporting on the other, both ways round."""

import numpy as np

from rheostat.metrics.statistics import Values


def cross_fitted(values: Values) -> tuple[Values, tuple[int, int]]:
    """Return each unit's value at the place that the other half of the units chose by its mean, and the two places.

    Args:
        values: (unit, place); the larger, the better.
    """
    halves = np.arange(len(values)) % 2
    out, chosen = np.empty(len(values)), []
    for half in (0, 1):
        place = int(values[halves != half].mean(axis=0).argmax())
        out[halves == half] = values[halves == half, place]
        chosen.append(place)
    return out, (chosen[0], chosen[1])
