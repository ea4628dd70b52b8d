"""Differences between curves whose direction was chosen on other items than those that report it.

The most fragile of several abilities, or the sturdier of two models, is always one of them; only on items that had no
part in the choice can the difference be about 0. Halves are the even and the odd groups of items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rheostat.impairment.comparison import halves
from rheostat.impairment.measured import MeasuredCurve, Weights, resampled_interval
from rheostat.impairment.summary import Statistic
from rheostat.metrics.statistics import Interval, Values
from rheostat.studies.judging import measurement
from rheostat.studies.record import Measurement

Drawn = tuple[float, Values]
"""A difference, and the same in every resample."""


def extremes(curves: Mapping[str, MeasuredCurve], statistic: Statistic, seed: int) -> tuple[Drawn, list[str]]:
    """Return the difference between the curve of largest and of smallest value, and the names that the halves chose.

    One half of each curve's items chooses the two, the other half reports them; the mean of both ways round.
    """
    split = {name: halves(curve) for name, curve in curves.items()}
    found, names = [], []
    for chooses, reports in ((0, 1), (1, 0)):
        value = {name: float(statistic(parts[chooses], None)[0]) for name, parts in split.items()}
        high, low = max(value, key=value.__getitem__), min(value, key=value.__getitem__)
        found.append(_between(split[high][reports], split[low][reports], statistic, (seed, chooses)))
        names.append(f"{high} over {low}")
    return _mean(found), names


def sturdier(first: MeasuredCurve, second: MeasuredCurve, statistic: Statistic, seed: int) -> Drawn:
    """Return the difference between two curves of the same items, in the direction that the other half chose."""
    parts = list(zip(halves(first), halves(second), strict=True))
    found = []
    for chooses, reports in ((0, 1), (1, 0)):
        one, other = (float(statistic(part, None)[0]) for part in parts[chooses])
        sign = 1.0 if one >= other else -1.0
        value, resampled = _between(*parts[reports], statistic, (seed, chooses), paired=True)
        found.append((sign * value, sign * resampled))
    return _mean(found)


def itself(curves: Sequence[MeasuredCurve], statistic: Statistic, seed: int) -> Drawn:
    """Return the control: the items of each curve are dealt into two that are compared as if they were different."""
    found = []
    for number, curve in enumerate(curves):
        quarters = [part for half in halves(curve) for part in halves(half)]
        for chooses, reports in (((0, 1), (2, 3)), ((2, 3), (0, 1))):
            one, other = (float(statistic(quarters[place], None)[0]) for place in chooses)
            sign = 1.0 if one >= other else -1.0
            first, second = (quarters[place] for place in reports)
            value, resampled = _between(first, second, statistic, (seed, 10 + number, reports[0]))
            found.append((sign * value, sign * resampled))
    return _mean(found)


def against(
    model: str, quantity: str, effect: Drawn, control: Drawn, *, n: int, unit: str, control_name: str
) -> Measurement:
    """Return a measurement of a difference and its control."""
    between: Interval = resampled_interval(effect[0] - control[0], effect[1] - control[1], n=n)
    return measurement(model, quantity, between, control=control[0], unit=unit, control_name=control_name)


def more_fragile(curve: MeasuredCurve) -> MeasuredCurve:
    """Return what a curve would be if each intensity did what the next one does: the planted case."""
    shifted = {
        name: np.concatenate([sums[..., :1], sums[..., 2:], sums[..., -1:]], axis=-1)
        for name, sums in curve.sums.items()
    }
    return replace(curve, sums=shifted)


def _between(
    first: MeasuredCurve,
    second: MeasuredCurve,
    statistic: Statistic,
    seed: tuple[int, ...],
    *,
    paired: bool = False,
) -> Drawn:
    one = _weights(first, (*seed, 0))
    other = one if paired else _weights(second, (*seed, 1))
    value = float(statistic(first, None)[0] - statistic(second, None)[0])
    return value, np.asarray(statistic(first, one) - statistic(second, other))


def _weights(curve: MeasuredCurve, seed: tuple[int, ...]) -> Weights:
    return curve.weights(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _mean(found: Sequence[Drawn]) -> Drawn:
    return float(np.mean([value for value, _ in found])), np.asarray(np.mean([drawn for _, drawn in found], axis=0))
