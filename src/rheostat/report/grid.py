"""Grids: values as colours, with what they stand for written into the cells where it can be read."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rheostat.base.shapes import Grid
from rheostat.report.canvas import INCHES_PER_CHARACTER, add_axes, blank, finish, label_places
from rheostat.report.cells import Cells, arrange
from rheostat.report.theme import ColourScale, Theme, colour_scale
from rheostat.report.wording import drawable, number, shortened

LARGEST = (13.0, 11.0)
"""Inches that the cells may take, across and down; smaller cells hold smaller text, then none."""
LONGEST_TEXT = 16
LONGEST_LABEL = 24
FEW_COLUMNS = 4
"""Up to so many are as wide as their labels."""
SMALLEST_FONT = 5.0
MOST_NUMBERS = 200
"""Cells up to which a grid without text has its values written in."""


def draw_grid(grid: Grid, theme: Theme) -> Figure:
    """Return coloured cells, the first row on top; cells without a value are hatched, and the note says so."""
    cells = arrange(grid)
    words = _words(cells)
    width, height = _cell_size(cells, words)
    scale = colour_scale(grid, theme)
    missing = " Hatched: no value." if np.isnan(cells.values).any() else ""
    across, down = width * len(cells.columns), height * len(cells.rows)
    margin = 1.9 + min(LONGEST_LABEL, max(map(len, cells.rows), default=0)) * 9 * INCHES_PER_CHARACTER
    figure = blank(max(across + margin, 5.0), max(down + 1.1, 2.2), grid.title, (grid.note + missing).strip(), theme)
    axes = add_axes(figure, theme, x_label=grid.x_label, y_label=grid.y_label)
    axes.patch.set(hatch="/////", edgecolor=theme.faint, linewidth=0)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(cells.values),
        cmap=scale.colours,
        norm=scale.norm,
        edgecolors=theme.background,
        linewidth=0.6 if min(width, height) > 0.12 else 0.0,
    )
    _label_cells(axes, cells, across, down)
    if words is not None:
        _write_cells(axes, cells, words, scale, theme.ink, width=width, height=height)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, fraction=0.05, aspect=max(8.0, min(30.0, down * 5)))
    bar.set_label(drawable(grid.value_label), fontsize=10, color=theme.ink)
    bar.ax.tick_params(colors=theme.ink, labelsize=9, length=3)
    bar.outline.set_visible(False)
    return finish(figure)


def _words(cells: Cells) -> list[list[str]] | None:
    """Return what to write into the cells: the grid's text, or the values of a small grid."""
    if cells.text is not None:
        return [[shortened(drawable(word), LONGEST_TEXT) for word in row] for row in cells.text]
    if cells.values.size <= MOST_NUMBERS and len(cells.columns) <= 14:
        return [["" if np.isnan(value) else number(value, digits=2) for value in row] for row in cells.values]
    return None


def _cell_size(cells: Cells, words: list[list[str]] | None) -> tuple[float, float]:
    """Return a cell's width and height in inches."""
    longest = max((len(word) for row in words or [] for word in row), default=0)
    width = max(0.6, longest * 8 * INCHES_PER_CHARACTER + 0.2) if words else max(0.2, 5.5 / max(len(cells.columns), 1))
    height = 0.25 if words else max(0.17, 3.4 / max(len(cells.rows), 1))
    if not words:
        width, height = min(width, 0.6), min(height, 0.4)
    if len(cells.columns) <= FEW_COLUMNS:
        label = min(LONGEST_LABEL, max(map(len, cells.columns), default=0))
        width = max(width, label * 9 * INCHES_PER_CHARACTER + 0.2)
    return min(width, LARGEST[0] / len(cells.columns or "x")), min(height, LARGEST[1] / len(cells.rows or "x"))


def _label_cells(axes: Axes, cells: Cells, across: float, down: float) -> None:
    label_places(axes, [shortened(label, LONGEST_LABEL) for label in cells.columns], width=across)
    axes.set_xticks(axes.get_xticks() + 0.5, labels=[text.get_text() for text in axes.get_xticklabels()])
    step = max(1, -(-len(cells.rows) * 16 // max(int(down * 100), 1)))
    rows = range(0, len(cells.rows), step)
    axes.set_yticks([i + 0.5 for i in rows], labels=[shortened(drawable(cells.rows[i]), LONGEST_LABEL) for i in rows])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_cells(
    axes: Axes,
    cells: Cells,
    words: list[list[str]],
    scale: ColourScale,
    bare: str,
    *,
    width: float,
    height: float,
) -> None:
    """Write `words` as large as fits, or not at all; `bare` is the ink where there is no coloured cell."""
    longest = max((len(word) for row in words for word in row), default=0)
    size = min(8.5, height * 72 * 0.62, (width - 0.06) / (max(longest, 1) * INCHES_PER_CHARACTER))
    if size < SMALLEST_FONT:
        return
    for i, row in enumerate(words):
        for j, word in enumerate(row):
            if word:
                value = float(cells.values[i, j])
                ink = bare if np.isnan(value) else scale.ink(value)
                axes.text(j + 0.5, i + 0.52, word, ha="center", va="center", fontsize=size, color=ink)
