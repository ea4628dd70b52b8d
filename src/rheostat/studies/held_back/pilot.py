"""How an ability breaks as the dial is turned up, on items that are not reported: where to look, where to attack."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.evaluation.scoring import is_right, tokens_for
from rheostat.metrics.statistics import Values
from rheostat.studies.held_back.served import Request, Served
from rheostat.tasks.item import Item

LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.65, 1.0)
LEVELS_QUICK = (0.0, 0.1, 0.2, 0.3, 0.4, 0.65)
GONE = 0.03
"""A share of right answers at which an ability counts as gone."""
WHOLE = 0.9
"""A share of the intact network's right answers at which it has hardly begun to fall."""


def curve(served: Served, items: Sequence[Item], levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Return one row per level and item: columns level, item, right; one draw each."""
    requests = [Request(item.prompt, tokens_for(item.answer), level) for level in levels for item in items]
    found = iter(served.answers(requests))
    rows = []
    for level in levels:
        for number, item in enumerate(items):
            one = next(found)
            rows.append({"level": level, "item": number, "right": is_right(one.text, item.answer, cut=one.cut)})
    return pd.DataFrame(rows)


def shares(pilot: pd.DataFrame) -> tuple[Values, Values]:
    """Return levels, ascending, and the share of right answers at each."""
    means = pilot.groupby("level")["right"].mean()
    return np.asarray(means.index, dtype=np.float64), np.asarray(means, dtype=np.float64)


def level_of(pilot: pd.DataFrame, share: float) -> float:
    """Return the least level at which the items that the intact network answers rightly are right in this share.

    Straight lines between the levels tried; the highest level where none falls so far.
    """
    intact = pilot[pilot["level"] == 0]
    known = set(intact.loc[intact["right"], "item"])
    levels, right = shares(pilot[pilot["item"].isin(known)])
    below = np.flatnonzero(right <= share)
    if not len(below):
        return float(levels[-1])
    place = int(below[0])
    if place == 0:
        return float(levels[0])
    part = (right[place - 1] - share) / (right[place - 1] - right[place])
    return round(float(levels[place - 1] + part * (levels[place] - levels[place - 1])), 3)
