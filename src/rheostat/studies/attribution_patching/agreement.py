"""How well guesses agree with measured effects: correlations within pairs, errors by block, resampled over pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Interval, Values, bootstrap, bootstrap_mean, spearman
from rheostat.studies.attribution_patching.measuring import GUESSES

Correlation = Callable[[Values, Values], float]


def pearson(x: Values, y: Values) -> float:
    """Return Pearson's correlation; NaN where one of the two is constant."""
    first, second = x - x.mean(), y - y.mean()
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / length if length else float("nan")


def rank_correlation(x: Values, y: Values) -> float:
    """Return Spearman's correlation."""
    return float(spearman(x, y))


@dataclass(frozen=True)
class Agreement:
    """One model's cells, of all pairs."""

    cells: pd.DataFrame
    """The columns of `measure_pair`, and `pair`."""
    n_blocks: int

    def groups(self) -> dict[str, pd.DataFrame]:
        """Return the cells of each group, the residual stream's also for the early and late half of the blocks."""
        found: dict[str, pd.DataFrame] = {}
        for name, table in self.cells.groupby("group", sort=False):
            found[str(name)] = table
            if name == "resid_pre":
                early = table["block"] < self.n_blocks // 2
                found["resid_pre, early half"], found["resid_pre, late half"] = table[early], table[~early]
        return found

    def per_pair(self, group: str, guess: str, correlation: Correlation = pearson) -> Values:
        """Return one correlation of guess and effect per pair."""
        pairs = self.groups()[group].groupby("pair", sort=False)
        return np.array([correlation(one[guess].to_numpy(), one["effect"].to_numpy()) for _, one in pairs])

    def error_per_pair(self, group: str, guess: str = "estimate") -> Values:
        """Return the relative error of the guesses for each pair: 0 is exact, 1 no better than guessing 0."""
        error, size = squares(self.groups()[group], guess).T
        return np.asarray(np.sqrt(error / size))

    def table(self, seed: int) -> pd.DataFrame:
        """Return a row per group: mean correlations with intervals, the controls', and the relative error."""
        rows = []
        for group, cells in self.groups().items():
            row: dict[str, object] = {"group": group, "cells": len(cells), "pairs": cells["pair"].nunique()}
            for name, correlation in (("Pearson", pearson), ("Spearman", rank_correlation)):
                row[name] = spelled(bootstrap_mean(self.per_pair(group, "estimate", correlation), seed=seed))
            row["relative error"] = spelled(bootstrap(_relative_error, squares(cells, "estimate"), seed=seed))
            for guess in GUESSES[1:]:
                row[f"Pearson, {guess}"] = spelled(bootstrap_mean(self.per_pair(group, guess), seed=seed))
            row["relative error, path"] = spelled(bootstrap(_relative_error, squares(cells, "path"), seed=seed))
            rows.append(row)
        return pd.DataFrame(rows)

    def errors_by_block(self, groups: Sequence[str], seed: int) -> pd.DataFrame:
        """Return rows {x (block), series, value, low, high}: the relative error of the estimates at each block."""
        rows = []
        for group in groups:
            for block, cells in self.groups()[group].groupby("block"):
                found = bootstrap(_relative_error, squares(cells, "estimate"), seed=seed, draws=500)
                rows.append({"x": block, "series": group, "value": found.value, "low": found.low, "high": found.high})
        return pd.DataFrame(rows)


def squares(cells: pd.DataFrame, guess: str) -> Values:
    """Return (pair, 2): the sum of squared errors of a guess, and that of the squared effects."""
    sums = cells.assign(error=(cells[guess] - cells["effect"]) ** 2, size=cells["effect"] ** 2)
    return sums.groupby("pair", sort=False)[["error", "size"]].sum().to_numpy()


def spelled(interval: Interval) -> str:
    """Return `0.98 [0.97, 0.99]`."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _relative_error(sums: Values) -> float:
    error, size = sums.sum(axis=0)
    return float(np.sqrt(error / size)) if size else float("nan")
