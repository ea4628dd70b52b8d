"""How an ability breaks as the dial is turned up, on items that are not reported: where to look, where to attack."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.evaluation.scoring import is_right, tokens_for
from rheostat.metrics.statistics import Values
from rheostat.studies.held_back.served import Request, Served
from rheostat.tasks.item import Item

COARSE = (0.0, 0.015, 0.04, 0.1, 0.25, 0.6, 1.0)
"""Levels tried first; networks differ much in what they stand."""
N_FINE, N_FINE_QUICK = 6, 3
"""Levels tried then, in equal ratios, where the first ones say that the ability falls."""
GONE = 0.03
"""A share of right answers at which an ability counts as gone."""
WHOLE = 0.9
"""A share of the intact network's right answers at which it has hardly begun to fall."""


def curve(served: Served, items: Sequence[Item], n_fine: int) -> pd.DataFrame:
    """Return one row per level and item: columns level, item, right; one draw each."""
    first = asked(served, items, COARSE)
    fallen, gone = (level_of(first, share, between=False) for share in (WHOLE, GONE))
    low = max(COARSE[1] / 3, *(level for level in COARSE if level < fallen))
    fine = np.geomspace(low, gone, n_fine + 2)[1:-1]
    return pd.concat([first, asked(served, items, [round(float(one), 4) for one in fine])], ignore_index=True)


def asked(served: Served, items: Sequence[Item], levels: Sequence[float]) -> pd.DataFrame:
    """Return the rows of some levels."""
    places = [(level, number, item) for level in levels for number, item in enumerate(items)]
    found = served.answers([Request(item.prompt, tokens_for(item.answer), level) for level, _, item in places])
    return pd.DataFrame(
        {"level": level, "item": number, "right": is_right(one.text, item.answer, cut=one.cut)}
        for (level, number, item), one in zip(places, found, strict=True)
    )


def shares(pilot: pd.DataFrame) -> tuple[Values, Values]:
    """Return levels, ascending, and the share that is right at each of the items that the intact network knows."""
    intact = pilot[pilot["level"] == 0]
    known = set(intact.loc[intact["right"], "item"])
    means = pilot[pilot["item"].isin(known)].groupby("level")["right"].mean()
    return np.asarray(means.index, dtype=np.float64), np.asarray(means, dtype=np.float64)


def level_of(pilot: pd.DataFrame, share: float, *, between: bool = True) -> float:
    """Return the least level at which the items that the intact network answers rightly are right in this share.

    Args:
        pilot: of `curve`.
        share: below 1.
        between: straight lines between the levels tried; else one of them. The highest where none falls so far.
    """
    levels, right = shares(pilot)
    below = np.flatnonzero(right <= share)
    if not len(below):
        return float(levels[-1])
    place = int(below[0])
    if not between:
        return float(levels[place])
    part = (right[place - 1] - share) / (right[place - 1] - right[place])
    return round(float(levels[place - 1] + part * (levels[place] - levels[place - 1])), 4)
