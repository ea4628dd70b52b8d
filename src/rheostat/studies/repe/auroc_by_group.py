"""Areas under the ROC curve with their differences, resampled over groups of texts, such as countries."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from rheostat.metrics.statistics import Interval
from rheostat.studies.judging import measurement
from rheostat.studies.record import Measurement

DRAWS = 2000


def auroc_draws(
    scores: Float[np.ndarray, "reader text"],
    positive: Bool[np.ndarray, " text"],
    groups: Int[np.ndarray, " text"],
    *,
    seed: int,
) -> tuple[float, Float[np.ndarray, " draw"]]:
    """Return the AUROC, averaged over readers, and the same of resampled groups; ties count half.

    Equal seeds draw equal groups, so the difference of two results is a paired one.
    """
    _, group = np.unique(groups, return_inverse=True)
    n = int(group.max()) + 1
    above, below = scores[:, positive], scores[:, ~positive]
    won = ((np.sign(above[:, :, None] - below[:, None, :]) + 1) / 2).mean(0)
    between = np.zeros((n, n))
    np.add.at(between, (group[positive][:, None], group[~positive][None, :]), won)
    n_positive = np.bincount(group[positive], minlength=n).astype(np.float64)
    n_negative = np.bincount(group[~positive], minlength=n).astype(np.float64)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    pairs = (weights @ n_positive) * (weights @ n_negative)
    drawn = np.divide(((weights @ between) * weights).sum(1), pairs, out=np.full(DRAWS, np.nan), where=pairs > 0)
    return float(won.mean()), drawn


def interval_of(value: float, drawn: Float[np.ndarray, " draw"], n: int) -> Interval:
    """Return a value with the 95 % interval of its draws."""
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def auroc_against(
    model: str,
    quantity: str,
    effect: Float[np.ndarray, "reader text"],
    controls: Mapping[str, Float[np.ndarray, "_ text"]],
    positive: Bool[np.ndarray, " text"],
    groups: Int[np.ndarray, " text"],
    *,
    unit: str,
    seed: int,
) -> list[Measurement]:
    """Return one measurement per control: the AUROC, and the interval of its difference from the control's.

    A control without scores (no readers) is chance, ½.
    """
    value, drawn = auroc_draws(effect, positive, groups, seed=seed)
    n = len(np.unique(groups))
    found = []
    for name, scores in controls.items():
        other, others = auroc_draws(scores, positive, groups, seed=seed) if len(scores) else (0.5, np.full(DRAWS, 0.5))
        difference = interval_of(value - other, drawn - others, n)
        found.append(measurement(model, quantity, difference, control=other, unit=unit, control_name=name))
    return found
