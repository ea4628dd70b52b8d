"""`MeasuredCurve`: one task under one dial, as sums that resampling can weigh; and what is read off a curve of means.

Items come in groups and are damaged by draws of the noise. Both were drawn, so both are resampled, each with
replacement: the product of the two weights counts an item under a draw (A. Owen 2007, The pigeonhole bootstrap,
arXiv:0712.1111; its intervals err on the wide side). Where each draw served a single group the two are one unit and are
resampled as one. A spread over few draws is only roughly known, as over few items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from rheostat.base.errors import BadArgument
from rheostat.metrics.statistics import Interval, Values

Measure = Literal["accuracy", "loss"]
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """Loss and accuracy of one task at every intensity of one dial."""

    dial: str
    task: str
    levels: tuple[float, ...]
    """Intensities, ascending; the first is 0."""
    groups: tuple[str, ...]
    counts: Float[np.ndarray, "group draw"]
    """Items of each group that were measured under each draw."""
    sums: Mapping[str, Float[np.ndarray, "group draw level"]]
    """`accuracy` and `loss`, summed over these items."""

    @property
    def n_items(self) -> int:
        """How many items were asked."""
        return int(self.counts.max(axis=1).sum())

    @property
    def draws_are_groups(self) -> bool:
        """Whether each draw served one group only, so that the two are one unit."""
        return bool(((self.counts > 0).sum(axis=0) <= 1).all())

    def means(self, measure: Measure, weights: "Weights | None" = None) -> Float[np.ndarray, "resample level"]:
        """Return the mean over items and draws at every intensity, in every resample; without weights in one row."""
        by_group = np.ones((1, len(self.groups))) if weights is None else weights.of_groups
        by_draw = np.ones((1, self.counts.shape[1])) if weights is None else weights.of_draws
        sums = self.sums[measure]
        total = (by_group @ sums.reshape(len(sums), -1)).reshape(len(by_group), *sums.shape[1:])
        count = ((by_group @ self.counts) * by_draw).sum(axis=1)
        weighed = (total * by_draw[:, :, None]).sum(axis=1)
        return np.asarray(
            np.divide(weighed, count[:, None], out=np.full(weighed.shape, np.nan), where=count[:, None] > 0)
        )

    def weights(self, *, seed: int, n: int = RESAMPLES) -> "Weights":
        """Return how often each group and draw is drawn in each of `n` resamples; equal for curves of equal groups."""
        rng = np.random.default_rng(seed)
        n_groups, n_draws = self.counts.shape
        of_groups = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n).astype(float)
        if n_draws == 1 or self.draws_are_groups:
            return Weights(of_groups, np.ones((n, n_draws)))
        return Weights(of_groups, rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws), size=n).astype(float))

    def part(self, chosen: Bool[np.ndarray, " group"]) -> "MeasuredCurve":
        """Return the curve of some of its groups, without the draws that none of them had.

        Raises:
            BadArgument: none is chosen.
        """
        if not chosen.any():
            raise BadArgument(f"a part of {self.task!r} without any group of items.")
        counts = self.counts[chosen]
        used = (counts > 0).any(axis=0)
        return replace(
            self,
            groups=tuple(group for group, taken in zip(self.groups, chosen, strict=True) if taken),
            counts=counts[:, used],
            sums={name: sums[chosen][:, used] for name, sums in self.sums.items()},
        )


@dataclass(frozen=True, eq=False)
class Weights:
    """How often groups and draws were drawn."""

    of_groups: Float[np.ndarray, "resample group"]
    of_draws: Float[np.ndarray, "resample draw"]


def measured_curves(table: pd.DataFrame) -> tuple[MeasuredCurve, ...]:
    """Return the curves of a table that `impairment_curves` made, dial by dial and task by task.

    Raises:
        BadArgument: the table holds no dial, or some intensity of a dial is missing for some item.
    """
    intact, damaged = table[table["dial"] == ""], table[table["dial"] != ""]
    if damaged.empty or intact.empty:
        raise BadArgument("the table holds no dial, or not the intact network; give what impairment_curves returned.")
    return tuple(
        _curve(str(dial), str(task), intact[intact["task"] == task], part)
        for (dial, task), part in damaged.groupby(["dial", "task"], sort=False)
    )


def _curve(dial: str, task: str, intact: pd.DataFrame, damaged: pd.DataFrame) -> MeasuredCurve:
    groups = list(dict.fromkeys(damaged["group"]))
    draws = sorted(damaged["draw"].unique())
    levels = sorted(float(level) for level in damaged["intensity"].unique())
    cells = damaged.drop_duplicates(["item", "draw"])[["item", "draw", "group"]]
    if len(cells) * len(levels) != len(damaged):
        raise BadArgument(f"{dial}, {task}: not every item was measured once at every intensity of its draws.")
    started = cells.merge(intact.drop(columns=["draw", "group", "intensity"]), on="item").assign(intensity=0.0)
    whole = pd.concat([started, damaged])
    place = (
        pd.Index(groups).get_indexer(whole["group"]),
        pd.Index(draws).get_indexer(whole["draw"]),
        np.searchsorted([0.0, *levels], whole["intensity"].to_numpy(dtype=float)),
    )
    shape = (len(groups), len(draws), 1 + len(levels))
    sums = {
        name: _summed(shape, place, whole[column].to_numpy(dtype=float))
        for name, column in (("accuracy", "right"), ("loss", "loss"))
    }
    counts = _summed(shape, place, np.ones(len(whole)))[:, :, 0]
    return MeasuredCurve(dial, task, (0.0, *levels), tuple(map(str, groups)), counts, sums)


def _summed(shape: tuple[int, ...], place: tuple[NDArray[np.intp], ...], values: Values) -> Values:
    out = np.zeros(shape)
    np.add.at(out, place, values)
    return out


# --- what is read off a curve -----------------------------------------------------------------------------------------


def first_below(
    levels: Sequence[float], means: Float[np.ndarray, "row level"], bound: Float[np.ndarray, " row"] | float
) -> Float[np.ndarray, " row"]:
    """Return the intensity at which each curve first falls below a bound, interpolated linearly; infinity: never."""
    x = np.asarray(levels, dtype=float)
    gap = means - np.broadcast_to(np.asarray(bound, dtype=float), len(means))[:, None]
    below = gap < 0
    first = below.argmax(axis=1)
    before, rows = np.maximum(first - 1, 0), np.arange(len(means))
    drop = gap[rows, before] - gap[rows, first]
    share = np.divide(gap[rows, before], drop, out=np.zeros(len(means)), where=drop > 0)
    crossed = x[before] + np.where(first > 0, share, 0.0) * (x[first] - x[before])
    found = np.where(below.any(axis=1), crossed, np.inf)
    return np.where(np.isnan(means).any(axis=1), np.nan, found)


def comes_back(means: Float[np.ndarray, " level"], bound: float) -> bool:
    """Tell whether a curve that has fallen below a bound is at it or above again at some larger intensity."""
    below = means < bound
    return bool(below.any() and (~below[below.argmax() :]).any())


def area_under(
    levels: Sequence[float], means: Float[np.ndarray, "row level"], over: tuple[float, float]
) -> Float[np.ndarray, " row"]:
    """Return the mean height of each curve over a range of intensity: the area by trapezoids, over the range's width.

    Raises:
        BadArgument: the range is empty, or leaves the measured intensities.
    """
    low, high = over
    if not levels[0] <= low < high <= levels[-1]:
        raise BadArgument(f"area over {low:g} to {high:g}: within the intensities measured, 0 to {levels[-1]:g}.")
    x = np.asarray(levels, dtype=float)
    inside = np.unique([low, high, *x[(x > low) & (x < high)]])
    heights = np.array([np.interp(inside, x, row) for row in means])
    return np.asarray(np.trapezoid(heights, inside, axis=1) / (high - low))


def resampled_interval(value: float, resampled: Values, *, n: int) -> Interval:
    """Return a value with the interval of its resampled values, which may be infinite (an intensity never reached).

    Ends are order statistics, so that an interval may end at infinity. With one unit there is none: NaN.
    """
    kept = resampled[~np.isnan(resampled)]
    if n < 2 or len(kept) == 0:
        return Interval(value, float("nan"), float("nan"), n)
    low, high = np.quantile(kept, [0.025, 0.975], method="inverted_cdf")
    return Interval(value, float(low), float(high), n)
