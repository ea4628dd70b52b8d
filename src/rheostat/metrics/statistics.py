"""Intervals, rank correlations and AUROCs, resampled over the unit that was drawn: prompts, prompt pairs, networks.

All are percentile bootstrap intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13), but for
the exact ends of a share whose units all agree (`share_interval`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.stats import rankdata

from rheostat.base.errors import BadArgument

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    """How many units were resampled."""

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0

    def __str__(self) -> str:
        """Return `0.12 [0.05, 0.19], n = 40`."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}], n = {self.n}"


def bootstrap(
    statistic: Callable[[Values], float],
    units: Sequence[object] | Values,
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return the statistic of all units, with the interval over resampled units.

    `statistic` receives an array whose first axis is the (resampled) unit; draws whose statistic is NaN are left out.

    Raises:
        BadArgument: there are fewer than two units.
    """
    values = np.asarray(units, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise BadArgument(f"a bootstrap needs at least 2 units, {n} given.")
    rng = np.random.default_rng(seed)
    resampled = np.array([statistic(values[rng.integers(0, n, size=n)]) for _ in range(draws)])
    return percentile_interval(float(statistic(values)), resampled, n=n, level=level)


def bootstrap_mean(units: Sequence[float] | Values, *, seed: int, draws: int = 2000, level: float = 0.95) -> Interval:
    """Return the mean of the units with its interval (the fast way for the commonest statistic).

    Units may be infinite, and then so may the mean and its ends be.

    Raises:
        BadArgument: there are fewer than two units, or one is NaN.
    """
    values = np.asarray(units, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise BadArgument(f"a bootstrap needs at least 2 units, {n} given.")
    if missing := int(np.isnan(values).sum()):
        raise BadArgument(f"{missing} of {n} units are NaN, so there is no mean; leave them out, and say how many.")
    chosen = np.random.default_rng(seed).integers(0, n, size=(draws, n))
    return percentile_interval(float(values.mean()), values[chosen].mean(axis=1), n=n, level=level)


def bootstrap_weights(
    statistic: Callable[[Values], Values], n: int, *, seed: int, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Return a statistic of n units with its interval, computed for all draws at once (for units of many items).

    `statistic` maps weights (draw, unit), how often each unit was drawn, to one number per draw; NaN is left out.

    Raises:
        BadArgument: there are fewer than two units.
    """
    if n < 2:
        raise BadArgument(f"a bootstrap needs at least 2 units, {n} given.")
    chosen = np.random.default_rng(seed).integers(0, n, size=(draws, n))
    weights = np.zeros((draws, n))
    np.add.at(weights, (np.arange(draws)[:, None], chosen), 1)
    return percentile_interval(float(statistic(np.ones((1, n)))[0]), statistic(weights), n=n, level=level)


def paired_difference(
    effect: Sequence[float] | Values, control: Sequence[float] | Values, *, seed: int, draws: int = 2000
) -> Interval:
    """Return the mean of effect − control, both measured on the same units.

    Raises:
        BadArgument: the two differ in length, or hold fewer than two units.
    """
    first, second = np.asarray(effect, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if first.shape != second.shape:
        raise BadArgument(f"paired values need equal lengths, {first.shape} and {second.shape} given.")
    return bootstrap_mean(first - second, seed=seed, draws=draws)


def percentile_interval(value: float, resampled: Values, *, n: int, level: float = 0.95) -> Interval:
    """Return a statistic with the interval that its resampled values span; NaN among them are left out.

    Where some are infinite, the ends are values that were drawn, so that an interval may end at infinity.
    """
    kept = resampled[~np.isnan(resampled)]
    if len(kept) == 0:
        return Interval(value, float("nan"), float("nan"), n)
    # nothing lies between a number and infinity
    method: Literal["linear", "inverted_cdf"] = "linear" if np.isfinite(kept).all() else "inverted_cdf"
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2], method=method)
    return Interval(value, float(low), float(high), n)


def share_interval(found: Interval, *, n: int | None = None, level: float = 0.95) -> Interval:
    """Return the interval of a share (from 0 to 1), with exact ends where all units agree.

    A share of 0 or 1 stays what it is in every resample, so a bootstrap gives it no width. Its exact interval is that
    of n units of n (Clopper and Pearson 1934, The use of confidence or fiducial limits): for 1 from (α/2)^(1/n) to 1,
    and for 0 from 0 to 1 − (α/2)^(1/n), with α = 1 − level. A bootstrap of two units says nothing: NaN.

    Args:
        found: the share with its bootstrap interval.
        n: how many independent units agree, where that is not `found.n`.
        level: of the interval.
    """
    units = found.n if n is None else n
    if units < 1:
        return replace(found, low=float("nan"), high=float("nan"))
    reach = ((1 - level) / 2) ** (1 / units)
    if found.value == 1:
        return replace(found, low=reach, high=1.0)
    if found.value == 0:
        return replace(found, low=0.0, high=1 - reach)
    return found if found.n > 2 else replace(found, low=float("nan"), high=float("nan"))


# --- telling two classes apart ----------------------------------------------------------------------------------------


def auroc(scores: Float[np.ndarray, "*rows n"], is_positive: Bool[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows"]:
    """Return the chance that a positive scores above a negative, ties counted half; NaN where a class is empty."""
    ranks = rankdata(np.asarray(scores, dtype=np.float64), axis=-1)
    n_positive = is_positive.sum(axis=-1)
    pairs = n_positive * (is_positive.shape[-1] - n_positive)
    above = (ranks * is_positive).sum(axis=-1) - n_positive * (n_positive + 1) / 2
    return np.asarray(np.divide(above, pairs, out=np.full(np.shape(above), np.nan), where=pairs > 0))


def bootstrap_auroc(
    scores: Float[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    groups: Sequence[object],
    *,
    seed: int,
    draws: int = 2000,
) -> Interval:
    """Return the area under the ROC curve with its interval over resampled groups of items, such as countries.

    Raises:
        BadArgument: a class is empty, there are fewer than two groups, or a score is NaN.
    """
    if missing := int(np.isnan(scores).sum()):
        raise BadArgument(f"{missing} of {len(scores)} scores are NaN; a score that is not known cannot be ranked.")
    names, group = np.unique(np.asarray([str(one) for one in groups]), return_inverse=True)
    if len(names) < 2 or is_positive.all() or not is_positive.any():
        raise BadArgument(
            f"an AUROC with its interval needs both classes and 2 groups; given {int(is_positive.sum())} positives, "
            f"{int((~is_positive).sum())} negatives, {len(names)} groups."
        )
    above, below = np.asarray(scores)[is_positive], np.asarray(scores)[~is_positive]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    between = np.zeros((len(names), len(names)))
    np.add.at(between, (group[is_positive][:, None], group[~is_positive]), wins)
    positives, negatives = (np.bincount(group[side], minlength=len(names)) for side in (is_positive, ~is_positive))

    def area(drawn: Values) -> Values:
        pairs = (drawn @ positives) * (drawn @ negatives)
        won = ((drawn @ between) * drawn).sum(axis=1)
        return np.asarray(np.divide(won, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0))

    return bootstrap_weights(area, len(names), seed=seed, draws=draws)


def auroc_interval(
    scores: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"], groups: Sequence[object], *, seed: int
) -> Interval:
    """Return `bootstrap_auroc`, with exact ends where the AUROC is 0 or 1.

    As many comparisons of a positive with a negative are independent as there are groups that hold the rarer class.

    Raises:
        BadArgument: as `bootstrap_auroc`.
    """
    found = bootstrap_auroc(scores, is_positive, groups, seed=seed)
    names = np.asarray([str(one) for one in groups])
    n = min(len(np.unique(names[side])) for side in (is_positive, ~is_positive))
    return share_interval(found, n=n)


# --- rank correlation -------------------------------------------------------------------------------------------------


def rank_rows(values: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Return the ranks along the last axis, ties averaged, centred on zero and scaled to unit length.

    A constant row has no ranks to correlate and becomes zeros.
    """
    ranks = rankdata(values, axis=-1)
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))


def spearman(x: Float[np.ndarray, "*rows n"], y: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows"]:
    """Return Spearman's rank correlation along the last axis."""
    return np.asarray((rank_rows(x) * rank_rows(y)).sum(axis=-1))


def partial_spearman(
    x: Float[np.ndarray, "*rows n"], y: Float[np.ndarray, "*rows n"], given: Float[np.ndarray, "... k n"]
) -> Float[np.ndarray, "*rows"]:
    """Return the rank correlation of x and y after the ranks of `given` were regressed out of both.

    Each row of `given` is a covariate, such as depth; any monotone relation to it that is linear in ranks is removed.
    Give depth together with its distance from the middle, or one 0/1 row per group, to remove more. A constant
    covariate removes nothing.
    """
    covariates = rank_rows(np.atleast_2d(np.asarray(given, dtype=np.float64)))
    basis, sizes = np.linalg.qr(np.swapaxes(covariates, -1, -2))
    known = np.abs(np.diagonal(sizes, axis1=-2, axis2=-1)) > 1e-9
    basis = basis * known[..., None, :]

    def residual(values: Values) -> Values:
        ranks = rank_rows(values)
        return np.asarray(ranks - (basis @ (np.swapaxes(basis, -1, -2) @ ranks[..., None]))[..., 0])

    first, second = residual(np.asarray(x, dtype=np.float64)), residual(np.asarray(y, dtype=np.float64))
    length = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    product = (first * second).sum(axis=-1)
    return np.asarray(np.divide(product, length, out=np.zeros_like(product), where=length > 1e-12))


def shuffled_control(
    x: Float[np.ndarray, "units n"], y: Float[np.ndarray, "units n"], *, seed: int, draws: int = 200
) -> Float[np.ndarray, " units"]:
    """Return, per unit, the mean rank correlation when y's entries are permuted: chance, about 0."""
    rng = np.random.default_rng(seed)
    first, second = rank_rows(x), rank_rows(y)
    total = np.zeros(len(first))
    for _ in range(draws):
        order = rng.permutation(first.shape[-1])
        total += (first * second[:, order]).sum(axis=-1)
    return total / draws


def cluster_spearman(
    x: Float[np.ndarray, "units n"], y: Float[np.ndarray, "units n"], *, seed: int, draws: int = 2000
) -> Interval:
    """Return the mean of the units' own rank correlations over their n cells, resampled over units.

    The cells of one prompt are no independent observations; the prompts are, so the prompts are what is drawn.

    Raises:
        BadArgument: there are fewer than two units.
    """
    return bootstrap_mean(spearman(x, y), seed=seed, draws=draws)
