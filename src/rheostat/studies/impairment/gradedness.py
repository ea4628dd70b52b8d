"""How well damage follows intensity: rank correlations, the largest step, and the intensity at half damage.

What is resampled are draws of the noise, each with the articles that were measured under it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Interval, Values, bootstrap_weights, shuffled_control, spearman
from rheostat.studies.impairment.graded import INTACT, reached

NEAR_ONE = 0.9
"""From which on a rank correlation is called near 1."""
LARGEST_STEP = 1 / 3
"""Of the whole rise: what a single step of a smooth curve takes at most."""


@dataclass(frozen=True)
class Curve:
    """Sums over the prompts of each draw, at every intensity from 0 on."""

    intensities: Values
    """(level,)."""
    losses: Values
    """(draw, level): summed, in nats."""
    right: Values
    """(draw, level): how many."""
    counts: Values
    """(draw,): prompts."""

    def mean_losses(self, weights: Values | None = None) -> Values:
        """Return mean losses (…, level), draws weighed (…, draw)."""
        return self._mean(self.losses, weights)

    def accuracies(self, weights: Values | None = None) -> Values:
        """Return shares of right answers (…, level)."""
        return self._mean(self.right, weights)

    def interval(self, statistic: Callable[[Values], Values], seed: int) -> Interval:
        """Return a statistic of weights (bootstrap, draw) with its interval."""
        return bootstrap_weights(statistic, len(self.counts), seed=seed)

    def _mean(self, sums: Values, weights: Values | None) -> Values:
        chosen = np.ones(len(self.counts)) if weights is None else weights
        return np.asarray((chosen @ sums) / np.asarray(chosen @ self.counts)[..., None])


def curve_of(table: pd.DataFrame, damage: str, *, topic: str | None = None) -> Curve:
    """Return the curve of one kind of damage, the intact network at intensity 0, over one topic or all.

    Args:
        table: of one suite; see `Graded.table`.
        damage: its label.
        topic: None: all.
    """
    chosen = table["damage"].isin([damage, INTACT])
    here = table[chosen if topic is None else chosen & (table["topic"] == topic)]
    intensities = here.groupby("level")["intensity"].first()
    sums = here.pivot_table(index="draw", columns="level", values=["loss", "right"], aggfunc="sum")
    counts = here[here["level"] == 0].groupby("draw").size()
    return Curve(
        intensities.to_numpy(dtype=float),
        sums["loss"].to_numpy(dtype=float),
        sums["right"].to_numpy(dtype=float),
        np.asarray(counts, dtype=np.float64),
    )


def loss_follows(curve: Curve, seed: int) -> Interval:
    """Return Spearman's correlation of intensity and mean loss."""
    return curve.interval(lambda weights: _ranks(curve, curve.mean_losses(weights)), seed)


def accuracy_follows(curve: Curve, seed: int) -> Interval:
    """Return minus Spearman's correlation of intensity and accuracy, so that 1 is a fall all the way."""
    return curve.interval(lambda weights: -_ranks(curve, curve.accuracies(weights)), seed)


def permuted(intensities: Values, means: Values, seed: int) -> float:
    """Return the mean rank correlation when the intensities of a curve (level,) are permuted: chance, about 0."""
    return float(shuffled_control(intensities[None], means[None], seed=seed, draws=2000)[0])


def largest_step(curve: Curve, seed: int) -> Interval:
    """Return the largest rise between neighbouring intensities, as a share of the rise from first to last.

    1 where there is no rise.
    """
    return curve.interval(lambda weights: step_shares(curve.mean_losses(weights)), seed)


def step_shares(means: Values) -> Values:
    """Return the largest step of each curve (…, level) as a share of its rise; 1 where it does not rise."""
    rise = means[..., -1] - means[..., 0]
    steps = np.diff(means, axis=-1).max(axis=-1)
    return np.asarray(np.divide(steps, rise, out=np.ones_like(rise), where=rise > 0))


def rise(curve: Curve, seed: int) -> Interval:
    """Return the mean loss at the last intensity minus that of the intact network, in nats."""
    return curve.interval(lambda weights: np.diff(curve.mean_losses(weights)[:, [0, -1]])[:, 0], seed)


def intensity_at(curve: Curve, target: float, seed: int) -> Interval:
    """Return the intensity at which the mean loss reaches a target; the last one where it never does."""
    return curve.interval(lambda weights: reached(curve.intensities, curve.mean_losses(weights), target), seed)


def is_graded(curve: Curve, seed: int) -> bool:
    """Return whether the loss follows intensity near 1 and no step takes over a third, by the intervals' far ends."""
    return loss_follows(curve, seed).low > NEAR_ONE and largest_step(curve, seed).high < LARGEST_STEP


def _ranks(curve: Curve, means: Values) -> Values:
    return spearman(np.broadcast_to(curve.intensities, means.shape), means)
