"""`CurveSummary`: what curves say: where an ability is half gone, where it falls below a bound, how much is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import Profile
from rheostat.impairment.measured import (
    Measure,
    MeasuredCurve,
    Weights,
    area_under,
    comes_back,
    first_below,
    measured_curves,
    resampled_interval,
)
from rheostat.metrics.statistics import Interval, Values, share_interval

Statistic = Callable[[MeasuredCurve, Weights | None], Values]
"""A number per resample (one without weights)."""

BOUNDS = (0.9, 0.5)
Y_LABELS: dict[Measure, str] = {
    "accuracy": "share of answers that are right",
    "loss": "loss of the answer (nats per token)",
}


@dataclass(frozen=True, eq=False)
class CurveSummary:
    """Curves with what is read off them; every interval is 95 %, over groups of items × draws."""

    points: pd.DataFrame
    """Rows {dial, task, intensity, loss, loss_low, loss_high, accuracy, accuracy_low, accuracy_high, n}."""
    table: pd.DataFrame
    """Rows {dial, task, quantity, value, low, high, comes_back, n}, n being groups of items. Quantities:

    - `half damage`: where the accuracy has gone half way from intact to chance;
    - `half loss`: where the loss has gone half way from intact to the largest of the curve;
    - `below 0.9` and so on: where the accuracy first falls below a bound;
    - `area`: the mean accuracy over a range of intensity.

    The first three are intensities, interpolated linearly, and infinite where the curve never gets there; `comes_back`
    says that the accuracy reaches the bound again at some larger intensity."""
    over: tuple[float, float]
    """The range of intensity of `area`."""
    chance: float
    """Accuracy of a network that knows nothing."""
    n_draws: int

    def figure(self, measure: Measure = "accuracy") -> Profile:
        """Return the curves as lines with their intervals."""
        several = self.points["dial"].nunique() > 1
        series = self.points["task"] + (", " + self.points["dial"] if several else "")
        ends = {name: self.points[column] for name, column in _columns(measure).items()}
        shown = pd.DataFrame({"x": self.points["intensity"], "series": series, **ends})
        title = "" if several else f", {self.points['dial'].iloc[0]}"
        n = self.points.groupby("task", sort=False)["n"].first()
        return Profile(
            name=f"{measure}-under-damage",
            title=f"{measure.capitalize()} under damage{title}",
            x_label="intensity",
            y_label="share of answers that are right"
            if measure == "accuracy"
            else "loss of the answer (nats per token)",
            table=shown,
            note=f"Items: {', '.join(f'{task} {count}' for task, count in n.items())}; draws of the noise: "
            f"{self.n_draws}. Bands: 95 % bootstrap intervals over groups of items and draws.",
            reference={"chance": self.chance} if measure == "accuracy" and self.chance > 0 else {},
        )

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values; an intensity that is never reached is None."""
        return {
            "over": list(self.over),
            "chance": self.chance,
            "draws": self.n_draws,
            "points": records(self.points),
            "quantities": records(self.table),
        }


def summarise_curves(
    table: pd.DataFrame,
    *,
    bounds: Sequence[float] = BOUNDS,
    over: tuple[float, float] | None = None,
    chance: float = 0.0,
    seed: int = 0,
) -> CurveSummary:
    """Summarise what `impairment_curves` measured.

    Args:
        table: its table.
        bounds: of the accuracy, 0 to 1.
        over: the range of intensity whose area is taken; None: from 0 to the largest.
        chance: accuracy of a network that knows nothing, 0 to 1; 0 for answers in words of any kind.
        seed: of the resampling.

    Raises:
        BadArgument: a bound or the chance lies outside 0 to 1, the range outside the intensities, or the table holds
            no dial.
    """
    if any(not 0 < bound <= 1 for bound in bounds) or not 0 <= chance < 1:
        raise BadArgument(f"bounds={list(bounds)}, chance={chance:g}: shares of right answers, from 0 to 1.")
    curves = measured_curves(table)
    chosen = (0.0, min(curve.levels[-1] for curve in curves)) if over is None else over
    points, rows = [], []
    for curve in curves:
        weights = curve.weights(seed=seed)
        points.append(_points(curve, weights))
        rows += [_row(curve, name, one, weights, bound) for name, one, bound in _quantities(bounds, chosen, chance)]
    n_draws = int(table.loc[table["dial"] != "", "draw"].nunique())
    return CurveSummary(pd.concat(points, ignore_index=True), pd.DataFrame(rows), chosen, chance, n_draws)


# --- statistics -------------------------------------------------------------------------------------------------------


def threshold(bound: float) -> Statistic:
    """Return the statistic: the intensity at which the accuracy first falls below a bound."""
    return lambda curve, weights: first_below(curve.levels, curve.means("accuracy", weights), bound)


def half_damage(chance: float = 0.0) -> Statistic:
    """Return the statistic: the intensity at which the accuracy has gone half way from intact to chance."""

    def found(curve: MeasuredCurve, weights: Weights | None) -> Values:
        means = curve.means("accuracy", weights)
        return first_below(curve.levels, means, (means[:, 0] + chance) / 2)

    return found


def half_loss(curve: MeasuredCurve, weights: Weights | None) -> Values:
    """Return the intensity at which the loss has gone half way from intact to the largest of the curve."""
    means = curve.means("loss", weights)
    return first_below(curve.levels, -means, -(means[:, 0] + means.max(axis=1)) / 2)


def area(over: tuple[float, float]) -> Statistic:
    """Return the statistic: the mean accuracy over a range of intensity."""
    return lambda curve, weights: area_under(curve.levels, curve.means("accuracy", weights), over)


def within_range(statistic: Statistic) -> Statistic:
    """Return the statistic with the largest intensity measured in the place of infinity: it is at least that."""
    return lambda curve, weights: np.minimum(statistic(curve, weights), curve.levels[-1])


def interval_of(curve: MeasuredCurve, statistic: Statistic, *, seed: int = 0) -> Interval:
    """Return a statistic of a curve with its interval over groups × draws."""
    return _interval(curve, statistic, curve.weights(seed=seed))


def difference(first: MeasuredCurve, second: MeasuredCurve, statistic: Statistic, *, seed: int = 0) -> Interval:
    """Return a statistic of one curve less that of another, with its interval.

    Curves of the same groups and draws are resampled together (paired), others apart. A statistic that may be infinite
    belongs into `within_range`.
    """
    paired = first.groups == second.groups and first.counts.shape == second.counts.shape
    one = first.weights(seed=seed)
    other = one if paired else second.weights(seed=seed + 1)
    value = float(statistic(first, None)[0] - statistic(second, None)[0])
    n = min(len(first.groups), len(second.groups))
    return resampled_interval(value, statistic(first, one) - statistic(second, other), n=n)


def records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table for JSON; numbers that are not finite become None."""
    return [
        {str(key): None if isinstance(value, float) and not isfinite(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


# --- inside -----------------------------------------------------------------------------------------------------------


def _quantities(
    bounds: Sequence[float], over: tuple[float, float], chance: float
) -> list[tuple[str, Statistic, float | None]]:
    named: list[tuple[str, Statistic, float | None]] = [
        ("half damage", half_damage(chance), None),
        ("half loss", half_loss, None),
    ]
    return [
        *named,
        *((f"below {bound:g}", threshold(bound), bound) for bound in bounds),
        ("area", area(over), None),
    ]


def _row(
    curve: MeasuredCurve, quantity: str, statistic: Statistic, weights: Weights, bound: float | None
) -> dict[str, object]:
    found = _interval(curve, statistic, weights)
    accuracy = curve.means("accuracy")[0]
    back = bound is not None and comes_back(accuracy, bound)
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {"dial": curve.dial, "task": curve.task, "quantity": quantity, **ends, "comes_back": back, "n": found.n}


def _interval(curve: MeasuredCurve, statistic: Statistic, weights: Weights) -> Interval:
    return resampled_interval(float(statistic(curve, None)[0]), statistic(curve, weights), n=len(curve.groups))


def _points(curve: MeasuredCurve, weights: Weights) -> pd.DataFrame:
    rows: dict[str, object] = {"dial": curve.dial, "task": curve.task, "intensity": curve.levels}
    measures: tuple[Measure, ...] = ("loss", "accuracy")
    for measure in measures:
        resampled, values = curve.means(measure, weights), curve.means(measure)[0]
        found = [
            resampled_interval(float(value), one, n=len(curve.groups))
            for value, one in zip(values, resampled.T, strict=True)
        ]
        if measure == "accuracy" and len(curve.groups) > 1:
            found = list(map(share_interval, found))
        rows |= {column: [getattr(one, end) for one in found] for end, column in _columns(measure).items()}
    return pd.DataFrame({**rows, "n": curve.n_items})


def _columns(measure: Measure) -> dict[str, str]:
    return {"value": measure, "low": f"{measure}_low", "high": f"{measure}_high"}
