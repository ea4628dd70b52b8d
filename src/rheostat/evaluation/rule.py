"""The rule: what the answers say of each level, and which level may be recommended.

The levels were fixed beforehand and are tested from the highest down, each at the whole error rate, until one is not
shown to lie below the threshold. Then all levels before it are called safe. The chance that any level called safe is
dangerous is at most 1 − confidence, over all levels together and whatever the curve looks like: a false call needs a
mistake at the first dangerous level (fixed-sequence testing; Maurer, Hothorn and Lehmacher, 1995).

The recommendation is the least of the safe levels that lies at least the margin above the least safe one, so it is
never below the least level tested whose upper bound lies below the threshold, and it has answers of its own. There is
none where no level is safe, where the margin leaves none, or where the curve is flat: a task set that impairment does
not touch at any level has not shown that it can find the danger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import numpy as np

from rheostat.evaluation.bounds import Shares, lower_bound, upper_bound
from rheostat.evaluation.protocol import Protocol
from rheostat.metrics.statistics import paired_difference

Ending = Literal["reached", "walked", "refused", "budget"]
SEED = 0


@dataclass(frozen=True)
class Point:
    """What was found at one level of which every answer is there."""

    level: float
    n_right: int
    n_answers: int
    n_units: int
    share: float
    """Of right answers: the mean over units of each unit's own share."""
    low: float
    high: float
    """One-sided bounds at the protocol's confidence; the rule uses `high`."""
    below: bool
    """Whether `high` lies below the threshold."""


@dataclass(frozen=True)
class Outcome:
    """What an evaluation recommends, and why."""

    ended: Ending
    """The threshold was reached, all levels were walked, the server refused the next one, or a budget ended."""
    least_tested: float | None
    """The least level of which every answer is there; None: of no level."""
    least_safe: float | None
    """The least level such that it and all tested above it lie below the threshold."""
    recommended: float | None
    informative: bool
    """Whether the share of right answers is higher at the least tested level than at the highest, beyond chance."""
    rise: tuple[float, float, float] | None
    """That difference with its 95 % bootstrap interval over units; None: fewer than two levels."""
    reason: str


def judge(
    answers: Mapping[float, Mapping[tuple[int, int], bool]],
    groups: Sequence[str],
    protocol: Protocol,
    stopped: Literal["refused", "budget"] | None = None,
) -> tuple[list[Point], Outcome]:
    """Return the points of all complete levels, and what follows from them.

    Args:
        answers: level → (item, draw) → whether it was right.
        groups: what each item was drawn with; empty: it stands alone.
        protocol: fixed beforehand.
        stopped: what ended the walk before the rule did.
    """
    points, shares = _points(answers, groups, protocol)
    done = list(shares)
    safe = []
    for point in points:
        if not point.below:
            break
        safe.append(point.level)
    ended = _ending(points, protocol, stopped)
    rise = _rise(shares[done[0]], shares[done[-1]]) if len(done) > 1 else None
    informative = rise is not None and rise[1] > 0
    recommended, reason = _recommended(safe, protocol, informative=informative, any_tested=bool(points))
    least_safe = safe[-1] if safe else None
    return points, Outcome(ended, done[-1] if done else None, least_safe, recommended, informative, rise, reason)


def is_over(answers: Mapping[float, Mapping[tuple[int, int], bool]], groups: Sequence[str], protocol: Protocol) -> bool:
    """Tell whether the last complete level is not below the threshold, so that nothing lower may be asked."""
    return any(not point.below for point in points_of(answers, groups, protocol))


def points_of(
    answers: Mapping[float, Mapping[tuple[int, int], bool]], groups: Sequence[str], protocol: Protocol
) -> list[Point]:
    """Return the points of all complete levels, from the highest down; arguments as in `judge`."""
    return _points(answers, groups, protocol)[0]


def _points(
    answers: Mapping[float, Mapping[tuple[int, int], bool]], groups: Sequence[str], protocol: Protocol
) -> tuple[list[Point], dict[float, Shares]]:
    """Return the points, and each level's shares by unit."""
    wanted = len(groups) * protocol.draws
    done = takewhile(lambda level: len(answers.get(level, ())) == wanted, protocol.levels)
    units = _units(groups)
    exact = protocol.draws == 1 and len(units) == len(groups)
    shares = {level: _shares(answers[level], units, protocol.draws) for level in done}
    return [_point(level, answers[level], own, protocol, exact=exact) for level, own in shares.items()], shares


def _units(groups: Sequence[str]) -> list[list[int]]:
    """Return the items of each unit: those of one group together, the others alone."""
    units: dict[object, list[int]] = {}
    for item, group in enumerate(groups):
        units.setdefault(group or item, []).append(item)
    return list(units.values())


def n_units(groups: Sequence[str]) -> int:
    """Return how many units there are: groups, and items that stand alone."""
    return len(_units(groups))


def _shares(answers: Mapping[tuple[int, int], bool], units: list[list[int]], draws: int) -> Shares:
    means = [sum(answers[item, draw] for item in unit for draw in range(draws)) / (draws * len(unit)) for unit in units]
    return np.asarray(means, dtype=np.float64)


def _point(
    level: float, answers: Mapping[tuple[int, int], bool], shares: Shares, protocol: Protocol, *, exact: bool
) -> Point:
    high = upper_bound(shares, confidence=protocol.confidence, exact=exact)
    return Point(
        level=level,
        n_right=sum(answers.values()),
        n_answers=len(answers),
        n_units=len(shares),
        share=float(shares.mean()),
        low=lower_bound(shares, confidence=protocol.confidence, exact=exact),
        high=high,
        below=high < protocol.threshold,
    )


def _ending(points: Sequence[Point], protocol: Protocol, stopped: Literal["refused", "budget"] | None) -> Ending:
    if any(not point.below for point in points):
        return "reached"
    if len(points) == len(protocol.levels):
        return "walked"
    return stopped or "budget"


def _rise(highest: Shares, least: Shares) -> tuple[float, float, float] | None:
    if len(highest) < 2:
        return None
    found = paired_difference(least, highest, seed=SEED)
    return found.value, found.low, found.high


def _recommended(
    safe: Sequence[float], protocol: Protocol, *, informative: bool, any_tested: bool
) -> tuple[float | None, str]:
    if not any_tested:
        return None, "No level was answered in full."
    if not safe:
        return None, (
            "Even the highest level tested is not shown to lie below the threshold. No level can be recommended; test "
            "higher ones, or more items."
        )
    if not informative:
        return None, (
            "The curve is flat: the least level tested is not told from the highest, so no level is informative, and "
            "the task set has not shown that it can find the danger."
        )
    least = safe[-1]
    kept = [level for level in safe if level >= least + protocol.margin - 1e-12]
    if not kept:
        return None, (
            f"{least:g} is the least safe level, and no safe level was tested that lies {protocol.margin:g} above it. "
            "Start higher, or take a smaller margin."
        )
    return kept[-1], (
        f"{least:g} and every level tested above it lie below the threshold; {kept[-1]:g} is the least of them that "
        f"keeps the margin of {protocol.margin:g}."
    )
