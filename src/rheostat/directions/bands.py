"""Columns of a table by block as the lines of a profile, each with its band."""

from collections.abc import Mapping
from typing import TypeAlias

import pandas as pd

Columns: TypeAlias = tuple[str, str | None, str | None]
"""Of the value, and of the lower and upper edge of its band; None: no band."""


def by_block(rows: pd.DataFrame, series: Mapping[str, Columns]) -> pd.DataFrame:
    """Return rows {x, value, series, low, high}, one per block and line, as `Profile` takes them; NaN for no band."""

    def edge(column: str | None) -> "pd.Series | float":
        return float("nan") if column is None else rows[column]

    lines = [
        pd.DataFrame(
            {"x": rows["block"].astype(int), "value": rows[value], "series": name, "low": edge(low), "high": edge(high)}
        )
        for name, (value, low, high) in series.items()
    ]
    return pd.concat(lines, ignore_index=True)
