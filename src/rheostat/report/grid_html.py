"""A grid as an HTML table: the tokens stay text that can be selected, searched and read aloud."""

import math

from markupsafe import Markup

from rheostat.base.shapes import Grid
from rheostat.report.cells import arrange
from rheostat.report.templates import template
from rheostat.report.theme import both_scales, cell_style, ramp_style, value_limits
from rheostat.report.wording import number, printable

MOST_ROWS = 40
MOST_COLUMNS = 12


def fits_html(grid: Grid) -> bool:
    """Tell whether `grid` has text and is small enough to be read as an HTML table."""
    return (
        "text" in grid.table.columns
        and grid.table["x"].nunique() <= MOST_COLUMNS
        and grid.table["y"].nunique() <= MOST_ROWS
    )


def grid_html(grid: Grid) -> Markup:
    """Return `grid` as a table whose cells are coloured by value, with the value beside each text.

    The colours follow the reader's light or dark preference by the style sheet of `page`.
    """
    cells = arrange(grid)
    low, high = value_limits(grid)
    scales = both_scales(grid)
    rows = []
    for i, label in enumerate(cells.rows):
        row = []
        for j in range(len(cells.columns)):
            value = float(cells.values[i, j])
            style = "" if math.isnan(value) else cell_style(scales, value)
            word = printable(cells.text[i][j]) if cells.text is not None else ""
            row.append({"word": word, "value": number(value, digits=2), "style": style})
        rows.append({"label": label, "cells": row})
    return Markup(  # noqa: S704 (the template escapes)
        template("grid.html").render(
            grid=grid,
            columns=cells.columns,
            rows=rows,
            low=number(low),
            high=number(high),
            ramp=ramp_style(scales, low, high),
        )
    )
