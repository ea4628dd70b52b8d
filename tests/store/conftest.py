"""The table of the planted run."""

import pandas as pd

from tests.store.planted import N, wanted


def expected(n: int = N) -> pd.DataFrame:
    rows = [{**one.labels, "value": place / 7} for place, one in enumerate(wanted(n))]
    return pd.DataFrame(rows)
