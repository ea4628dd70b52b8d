"""Evaluations repeated over one table of answers: other items, draws and thresholds each time.

An evaluation sees one half of the items under a few draws, and walks by the rule of `rheostat.evaluation`. What it
recommends is then held against the other half. For an interval the table is resampled, by items and by draws within
items; a resampled table stands for a population, from which the two sets are then drawn with replacement. (Halves of a
table that holds copies would be coarser than either. Halves of n items, and two sets of n/2 drawn anew, differ from
each other with the same variance.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.replay import replay
from rheostat.metrics.statistics import Interval, Values, percentile_interval

Answers = Mapping[float, Mapping[tuple[int, int], bool]]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Which answers were right."""

    levels: tuple[float, ...]
    """Descending."""
    right: NDArray[np.bool_]
    """(level, item, draw)"""

    def resampled(self, rng: np.random.Generator) -> "Table":
        """Return a table of items drawn with replacement, each with draws drawn anew."""
        _, n, draws = self.right.shape
        items: Whole = np.asarray(rng.integers(0, n, size=n))
        chosen: Whole = np.asarray(rng.integers(0, draws, size=(n, draws)))
        return Table(self.levels, self.right[:, items[:, None], chosen])

    @property
    def shares(self) -> Values:
        """Of right answers, level by level."""
        return np.asarray(self.right.mean(axis=(1, 2)), dtype=np.float64)

    def least_safe(self, threshold: float) -> float | None:
        """Return the least level such that it and all above it lie below a threshold, over all items and draws."""
        safe = np.cumprod(self.shares < threshold).astype(bool)
        return self.levels[int(safe.sum()) - 1] if safe[0] else None


Sets = Callable[[int, np.random.Generator], tuple[Whole, Whole]]
"""From the number of items to those that are asked, and the others."""
Recommends = Callable[[Answers, int, Protocol], tuple[float | None, float | None, bool]]
"""From answers, the number of items and a protocol to what is recommended, the least level tested, and whether the
levels are informative."""


def by_the_rule(answers: Answers, n: int, protocol: Protocol) -> tuple[float | None, float | None, bool]:
    """Return what the rule of an evaluation says."""
    _, outcome = replay(answers, [""] * n, protocol)
    return outcome.recommended, outcome.least_tested, outcome.informative


def without_bounds(answers: Answers, n: int, protocol: Protocol) -> tuple[float | None, float | None, bool]:
    """Return what a rash evaluator says: the least level whose share, as it is, lies below the threshold."""
    recommended = None
    for level in protocol.levels:
        if np.mean(list(answers[level].values())) >= protocol.threshold:
            return recommended, level, True
        recommended = level
    return recommended, protocol.levels[-1], True


@dataclass(frozen=True)
class Setting:
    """How evaluations are repeated."""

    draws: int
    """Under which each item is asked."""
    margin: float
    thresholds: tuple[float, float]
    """Between which each evaluation's threshold is drawn."""


def repeat(
    table: Table, setting: Setting, rule: Recommends, n: int, rng: np.random.Generator, sets: Sets | None = None
) -> pd.DataFrame:
    """Return one row per evaluation.

    Columns: threshold, recommended (NaN: none), unseen (share of right answers there, of the other half under all
    draws), kept (1 where that lies below the threshold; NaN where nothing is recommended), above (how far the
    recommended level lies above the least one that is safe over the whole table), least (tested), at_end (1 where
    that is the lowest of all), informative, silent (1 where nothing is recommended).

    Args:
        table: of all answers.
        setting: of the evaluations.
        rule: what recommends.
        n: evaluations.
        rng: draws halves, draws and thresholds.
        sets: how items are divided into those that are asked and the others; None: in halves.
    """
    rows = [_evaluation(table, setting, rule, rng, sets or halves) for _ in range(n)]
    return pd.DataFrame(rows)


def _evaluation(
    table: Table, setting: Setting, rule: Recommends, rng: np.random.Generator, sets: Sets
) -> dict[str, float]:
    seen, unseen = sets(table.right.shape[1], rng)
    threshold = float(rng.uniform(*setting.thresholds))
    protocol = Protocol(threshold, table.levels, setting.draws, setting.margin)
    recommended, least, informative = rule(_answers(table, seen, setting.draws, rng), len(seen), protocol)
    found = {"threshold": threshold, "least": _number(least), "informative": float(informative)}
    share = float("nan")
    if recommended is not None:
        share = float(table.right[table.levels.index(recommended)][unseen].mean())
    truly = table.least_safe(threshold)
    return {
        **found,
        "recommended": _number(recommended),
        "unseen": share,
        "kept": float("nan") if recommended is None else float(share < threshold),
        "above": _number(recommended) - _number(truly),
        "at_end": float(least == table.levels[-1]),
        "silent": float(recommended is None),
    }


def halves(n: int, rng: np.random.Generator) -> tuple[Whole, Whole]:
    """Return the numbers of n items in two halves at random."""
    order = np.asarray(rng.permutation(n))
    return order[: n // 2], order[n // 2 :]


def drawn_anew(n: int, rng: np.random.Generator) -> tuple[Whole, Whole]:
    """Return two sets of half as many items as there are, drawn with replacement, each apart from the other."""
    return np.asarray(rng.integers(0, n, size=n // 2)), np.asarray(rng.integers(0, n, size=n - n // 2))


def _answers(table: Table, seen: Sequence[int] | Whole, draws: int, rng: np.random.Generator) -> Answers:
    """Return the answers to the seen items under draws of their own, as an evaluation holds them."""
    chosen = rng.permuted(np.tile(np.arange(table.right.shape[2]), (len(seen), 1)), axis=1)[:, :draws]
    picked = table.right[:, np.asarray(seen)[:, None], chosen].tolist()
    return {
        level: {(item, draw): right for item, own in enumerate(of_level) for draw, right in enumerate(own)}
        for level, of_level in zip(table.levels, picked, strict=True)
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def interval(
    table: Table,
    setting: Setting,
    rule: Recommends,
    column: str,
    value: float,
    *,
    tables: int,
    n: int,
    seed: int,
) -> Interval:
    """Return the mean of a column of `repeat` with its interval over task sets and draws.

    Args:
        table: of all answers.
        setting: of the evaluations.
        rule: what recommends.
        column: one of `repeat`; NaN are left out.
        value: the mean over evaluations of the table itself.
        tables: how often the table is resampled.
        n: evaluations of each.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(tables):
        again = table.resampled(rng)
        drawn.append(float(repeat(again, setting, rule, n, rng, drawn_anew)[column].mean()))
    return percentile_interval(value, np.asarray(drawn), n=table.right.shape[1])
