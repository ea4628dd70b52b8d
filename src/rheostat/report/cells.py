"""A grid's table as rows and columns of cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rheostat.base.errors import InternalError
from rheostat.base.shapes import Grid
from rheostat.report.wording import cell


@dataclass(frozen=True)
class Cells:
    """The cells of a grid, rows top to bottom and columns left to right as they first appear in its table."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    """(rows, columns), NaN where the table has no value."""
    text: tuple[tuple[str, ...], ...] | None
    """What stands in each cell, empty where nothing does; None for a grid without text."""


def arrange(grid: Grid) -> Cells:
    """Sort the rows of `grid.table` into cells.

    Raises:
        InternalError: two rows of the table claim the same cell.
    """
    table = grid.table
    if table.duplicated(["x", "y"]).any():
        x, y = table.loc[table.duplicated(["x", "y"]), ["x", "y"]].iloc[0]
        raise InternalError(f"the grid {grid.name!r} has two values for the cell x={x!r}, y={y!r}")
    rows, columns = table["y"].drop_duplicates(), table["x"].drop_duplicates()
    row_of, column_of = ({label: i for i, label in enumerate(labels)} for labels in (rows, columns))
    places = [(row_of[y], column_of[x]) for x, y in zip(table["x"], table["y"], strict=True)]
    values = np.full((len(rows), len(columns)), np.nan)
    for place, value in zip(places, table["value"].to_numpy(dtype=float, na_value=np.nan), strict=True):
        values[place] = value
    text = None
    if "text" in table.columns:
        words = np.full(values.shape, "", dtype=object)
        for place, word in zip(places, table["text"], strict=True):
            words[place] = word if isinstance(word, str) else ""
        text = tuple(tuple(row) for row in words)
    return Cells(tuple(map(cell, rows)), tuple(map(cell, columns)), values, text)
