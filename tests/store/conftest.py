"""A run that asks for 120 results whose numbers are known."""

from collections.abc import Sequence

import pandas as pd

from rheostat.store.key import digest
from rheostat.store.store import Wanted

N = 120


def wanted(n: int = N) -> list[Wanted]:
    return [Wanted(digest(number), {"block": number // 10, "token": f"␣w{number % 10}"}) for number in range(n)]


def numbers(places: Sequence[int]) -> list[tuple[float]]:
    return [(place / 7,) for place in places]


def expected(n: int = N) -> pd.DataFrame:
    rows = [{**one.labels, "value": place / 7} for place, one in enumerate(wanted(n))]
    return pd.DataFrame(rows)
