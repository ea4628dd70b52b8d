"""One line of a profile figure: a mean with its interval at every place."""

from collections.abc import Iterable

from rheostat.metrics.statistics import Values, bootstrap_mean


def curve(series: str, places: Iterable[tuple[object, Values]], seed: int) -> list[dict[str, object]]:
    """Return a row of a profile's table per place: the mean of the units measured there, with its interval."""
    rows: list[dict[str, object]] = []
    for place, units in places:
        mean = bootstrap_mean(units, seed=seed)
        rows.append({"x": place, "value": mean.value, "low": mean.low, "high": mean.high, "series": series})
    return rows
