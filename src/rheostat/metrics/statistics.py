"""Intervals, rank correlations and AUROCs, resampled over the unit that was drawn: prompts, prompt pairs, networks.

All intervals are percentile bootstrap intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

    Raises:
        BadArgument: there are fewer than two units.
    """
    values = np.asarray(units, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise BadArgument(f"a bootstrap needs at least 2 units, {n} given.")
    chosen = np.random.default_rng(seed).integers(0, n, size=(draws, n))
    return percentile_interval(float(values.mean()), values[chosen].mean(axis=1), n=n, level=level)


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
    """Return a statistic with the interval that its resampled values span; NaN among them are left out."""
    kept = resampled[np.isfinite(resampled)]
    if len(kept) == 0:
        return Interval(value, float("nan"), float("nan"), n)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n)


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
        BadArgument: a class is empty, or there are fewer than two groups.
    """
    names, group = np.unique(np.asarray([str(one) for one in groups]), return_inverse=True)
    if len(names) < 2 or is_positive.all() or not is_positive.any():
        raise BadArgument(
            f"an AUROC with its interval needs both classes and 2 groups; given {int(is_positive.sum())} positives, "
            f"{int((~is_positive).sum())} negatives, {len(names)} groups."
        )
    above, below = np.asarray(scores)[is_positive], np.asarray(scores)[~is_positive]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    first, second = counts[:, group[is_positive]].astype(float), counts[:, group[~is_positive]].astype(float)
    pairs = first.sum(axis=1) * second.sum(axis=1)
    resampled = np.divide(((first @ wins) * second).sum(axis=1), pairs, out=np.full(draws, np.nan), where=pairs > 0)
    return percentile_interval(float(wins.mean()), resampled, n=len(names))


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
