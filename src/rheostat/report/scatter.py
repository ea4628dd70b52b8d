"""Scatters: one marker per item, colour and shape by series."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rheostat.base.shapes import Scatter
from rheostat.report.canvas import add_axes, add_legend, blank, finish
from rheostat.report.theme import Theme, series_style
from rheostat.report.wording import cell, drawable, shortened

WIDTH, HEIGHT = 7.0, 5.0
MOST_LABELS = 25


def draw_scatter(scatter: Scatter, theme: Theme) -> Figure:
    """Return the points; with more than 25 labels, only the points farthest from the middle are named."""
    shown = scatter.table.dropna(subset=["x", "y"])
    named = _to_name(shown)
    note = scatter.note
    if len(shown) < len(scatter.table):
        note += f" {len(scatter.table) - len(shown)} items without a value are left out."
    if "text" in shown.columns and len(named) < len(shown):
        note += f" Named: the {len(named)} items farthest from the middle."
    figure = blank(WIDTH, HEIGHT, scatter.title, note.strip(), theme)
    axes = add_axes(figure, theme, x_label=scatter.x_label, y_label=scatter.y_label)
    axes.grid(axis="x", color=theme.faint, linewidth=0.8)
    for index, series in enumerate(shown["series"].drop_duplicates()):
        rows = shown[shown["series"] == series]
        style = series_style(index, theme)
        axes.scatter(
            rows["x"].to_numpy(dtype=float),
            rows["y"].to_numpy(dtype=float),
            s=26 if len(shown) < 300 else 10,
            color=style.colour,
            marker=style.marker,
            edgecolors=theme.background,
            linewidths=0.4,
            alpha=0.9,
            label=drawable(f"{cell(series)} (n = {len(rows)})"),
        )
    _name_points(axes, named, theme)
    add_legend(axes, theme, width=WIDTH)
    return finish(figure)


def _to_name(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose points get a label."""
    if "text" not in table.columns or len(table) <= MOST_LABELS:
        return table
    places = table[["x", "y"]].to_numpy(dtype=float)
    spread = places.std(axis=0)
    distance = np.linalg.norm((places - places.mean(axis=0)) / np.where(spread > 0, spread, 1), axis=1)
    return table.iloc[np.sort(np.argsort(-distance, kind="stable")[:MOST_LABELS])]


def _name_points(axes: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    if "text" not in rows.columns:
        return
    for x, y, word in zip(rows["x"], rows["y"], rows["text"], strict=True):
        if isinstance(word, str) and word:
            axes.annotate(
                shortened(drawable(word), 24),
                (x, y),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7.5,
                color=theme.quiet,
            )
