"""Half-widths of confidence intervals of means, player by player.

With n measurements, their variance s², and L = ln(2/δ):

- `bernstein`: √(2 s² L / n) + 7/3 · R · L / (n − 1), empirical (Maurer and Pontil 2009, arXiv:0907.3740)
- `hoeffding`: R · √(L / (2 n)) (Hoeffding 1963)
- `normal`: z · s / √n, z the normal quantile of 1 − δ/2: no bound at all, so much narrower, and too narrow for few
  measurements or heavy tails; infinite below ten measurements

R is the width of the range in which the marginals lie. Each holds for one player at one time with probability 1 − δ,
not for all players at all times together.
"""

from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean
from rheostat.neurons.shapley.tally import Tally

IntervalName = Literal["bernstein", "hoeffding", "normal"]
FEWEST_NORMAL = 10


def half_widths(tally: Tally, interval: str, *, delta: float, bound: float | None) -> Float[np.ndarray, " player"]:
    """Return the half-width of each player's interval; infinite below two measurements.

    Args:
        tally: what the walks have shown.
        interval: which formula.
        delta: probability that an interval misses, above 0, below 1.
        bound: the width of the range of marginals; None: what was seen so far, which guarantees nothing.
    """
    n = np.maximum(tally.counts, 2)
    log, variances = float(np.log(2 / delta)), np.nan_to_num(tally.variances)
    width = tally.width if bound is None else bound
    fewest = 2
    if interval == "bernstein":
        half = np.sqrt(2 * variances * log / n) + 7 / 3 * width * log / (n - 1)
    elif interval == "hoeffding":
        half = width * np.sqrt(log / (2 * n))
    else:
        half, fewest = NormalDist().inv_cdf(1 - delta / 2) * np.sqrt(variances / n), FEWEST_NORMAL
    return np.where(tally.counts < fewest, np.inf, half)


def check_interval(interval: str, delta: float, bound: float | None) -> None:
    """Refuse settings that no interval has.

    Raises:
        BadArgument: an unknown interval, delta outside 0 to 1, or a bound that is not above 0.
    """
    names = get_args(IntervalName)
    if interval not in names:
        raise BadArgument(f"no interval {interval!r}.{did_you_mean(interval, names)} One of: {', '.join(names)}.")
    if not 0 < delta < 1:
        raise BadArgument(f"delta={delta:g}: above 0, below 1.")
    if bound is not None and not 0 < bound < float("inf"):
        raise BadArgument(f"bound={bound:g}: the width of the range of marginals, above 0.")
