"""Bounds of a share that hold at any number of items, however the answers are spread.

Units (items, or groups of them) are drawn independently; each has a share of right answers between 0 and 1. Where a
unit is one answer, the tail is the binomial one (Clopper and Pearson, Biometrika 26, 1934). Where it is a mean of
several, it is the smaller of Hoeffding's (J. Am. Stat. Assoc. 58, 1963) and Bentkus's (Ann. Probab. 32, 2004), which
hold for any spread within 0 to 1. A percentile bootstrap would call a level safe for sure whenever no answer was right.
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

Shares = Float[np.ndarray, " unit"]
STEPS = 60
"""Halvings of the interval in which a bound is sought."""


def p_value(shares: Shares, threshold: float, *, exact: bool) -> float:
    """Return how likely a mean this low would be, at most, if the true share were `threshold` or more.

    Args:
        shares: right answers of each unit, 0 to 1.
        threshold: above 0, at most 1.
        exact: each unit is a single answer.
    """
    return _p_value(float(shares.sum()), len(shares), threshold, exact=exact)


def upper_bound(shares: Shares, *, confidence: float, exact: bool) -> float:
    """Return the largest share that the answers do not exclude with this confidence, one-sided."""
    return _upper_bound(float(shares.sum()), len(shares), confidence=confidence, exact=exact)


def lower_bound(shares: Shares, *, confidence: float, exact: bool) -> float:
    """Return the smallest share that the answers do not exclude with this confidence, one-sided."""
    return 1 - upper_bound(1 - shares, confidence=confidence, exact=exact)


@lru_cache(maxsize=4096)
def _upper_bound(total: float, n: int, *, confidence: float, exact: bool) -> float:
    """Return the bound of n units whose shares sum to `total`: all that it depends on."""
    low, high = total / n, 1.0
    if _p_value(total, n, high, exact=exact) > 1 - confidence:
        return 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle > 0 and _p_value(total, n, middle, exact=exact) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def _p_value(total: float, n: int, threshold: float, *, exact: bool) -> float:
    tail = float(binom.cdf(math.ceil(total - 1e-9), n, threshold))
    if exact:
        return tail
    return min(1.0, math.e * tail, _hoeffding(total / n, threshold, n))


def _hoeffding(mean: float, threshold: float, n: int) -> float:
    """Return exp(−n · KL(mean ‖ threshold)), with 1 where the mean is no lower."""
    if mean >= threshold:
        return 1.0
    wrong = (1 - mean) * (math.log1p(-mean) - math.log1p(-threshold)) if threshold < 1 else math.inf
    right = mean * math.log(mean / threshold) if mean > 0 else 0.0
    return math.exp(-n * (right + wrong))
