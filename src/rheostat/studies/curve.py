"""One line of a profile figure: a mean with its interval at every place."""

from collections.abc import Iterable

import numpy as np

from rheostat.metrics.statistics import Values, bootstrap_mean


def curve(series: str, places: Iterable[tuple[object, Values]], seed: int) -> list[dict[str, object]]:
    """Return a row of a profile's table per place: the mean of the units measured there, with its interval.

    Where a unit has no value there is no mean of all, and the figure has a gap.
    """
    rows: list[dict[str, object]] = []
    for place, units in places:
        if np.isnan(units).any():
            rows.append({"x": place, "value": np.nan, "low": np.nan, "high": np.nan, "series": series})
            continue
        mean = bootstrap_mean(units, seed=seed)
        rows.append({"x": place, "value": mean.value, "low": mean.low, "high": mean.high, "series": series})
    return rows
