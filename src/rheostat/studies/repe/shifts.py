"""What adding a direction changed: shifts of answers per prompt, at equal length and at equal cost on neutral text."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Values, spearman
from rheostat.studies.repe.manipulate import NEUTRAL, STRENGTHS

SIZES = tuple(sorted({abs(one) for one in STRENGTHS}))


def values_of(table: pd.DataFrame, question: str, direction: str, block: int, strength: float) -> Values:
    """Return one value per prompt."""
    own = table[(table["question"] == question) & (table["strength"] == strength)]
    if strength:
        own = own[(own["direction"] == direction) & (own["block"] == block)]
    return own.sort_values("prompt")["value"].to_numpy(dtype=np.float64)


def shift(table: pd.DataFrame, question: str, direction: str, block: int, size: float) -> Values:
    """Return half the difference of the answer's log-odds between adding and subtracting, in nats per prompt."""
    more, less = (values_of(table, question, direction, block, sign * size) for sign in (1, -1))
    return np.asarray((more - less) / 2)


def cost(table: pd.DataFrame, direction: str, block: int, size: float) -> float:
    """Return what adding and subtracting cost on neutral text: mean KL in nats."""
    both = [values_of(table, NEUTRAL, direction, block, sign * size) for sign in (1, -1)]
    return float(np.mean(both))


def matched_shift(table: pd.DataFrame, question: str, direction: str, block: int, kl: float) -> Values:
    """Return the shift per prompt at the strength that costs `kl` nats on neutral text.

    Between the measured strengths the shift is linear in the root of the cost, which grows with the square of a small
    strength; beyond the largest it is not continued.
    """
    roots = [0.0, *(np.sqrt(cost(table, direction, block, size)) for size in SIZES)]
    shifts = [shift(table, question, direction, block, size) for size in SIZES]
    known = np.stack([np.zeros_like(shifts[0]), *shifts])
    return np.array([np.interp(np.sqrt(kl), roots, each) for each in known.T])


def affordable(table: pd.DataFrame, directions: Sequence[str], block: int) -> float:
    """Return the largest cost that every direction reaches within the measured strengths, in nats."""
    return min(cost(table, direction, block, SIZES[-1]) for direction in directions)


def monotony(table: pd.DataFrame, question: str, direction: str, block: int) -> Values:
    """Return, per prompt, the rank correlation of the answer's log-odds with the strength."""
    strengths = sorted((*STRENGTHS, 0.0))
    by_strength = np.stack([values_of(table, question, direction, block, one) for one in strengths], axis=1)
    return np.asarray(spearman(by_strength, np.broadcast_to(np.array(strengths), by_strength.shape)))


def turned(controls: Sequence[Values]) -> Values:
    """Return the mean of controls per prompt, each turned so that it moves the answer up on the whole."""
    return np.asarray(np.mean([np.sign(one.mean()) * one for one in controls], axis=0))
