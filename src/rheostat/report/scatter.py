"""Scatters: one marker per item, colour and shape by series."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from rheostat.base.shapes import Scatter
from rheostat.report.canvas import add_axes, add_legend, blank, finish
from rheostat.report.theme import Theme, series_style
from rheostat.report.wording import cell, drawable, shortened

WIDTH, HEIGHT = 7.0, 5.0
MOST_LABELS = 25


def draw_scatter(scatter: Scatter, theme: Theme) -> Figure:
    """Return the points; a name that would cover another is left out, those far from the middle come first."""
    shown = scatter.table.dropna(subset=["x", "y"])
    note = scatter.note
    if len(shown) < len(scatter.table):
        note += f" {len(scatter.table) - len(shown)} items without a value are left out."
    named = shown[shown["text"].fillna("") != ""] if "text" in shown.columns else shown[:0]
    if len(named) > MOST_LABELS:
        note += " Named where there is room: the items farthest from the middle."
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
    if len(named):
        _name_points(axes, _by_distance(named)[:MOST_LABELS], theme)
    add_legend(axes, theme, width=WIDTH)
    return finish(figure)


def _by_distance(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, those farthest from the middle first."""
    places = table[["x", "y"]].to_numpy(dtype=float)
    spread = places.std(axis=0)
    distance = np.linalg.norm((places - places.mean(axis=0)) / np.where(spread > 0, spread, 1), axis=1)
    return table.iloc[np.argsort(-distance, kind="stable")]


def _name_points(axes: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    taken: list[Bbox] = []
    for x, y, word in zip(rows["x"], rows["y"], rows["text"], strict=True):
        if isinstance(word, str) and word:
            name = axes.annotate(
                shortened(drawable(word), 24),
                (x, y),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7.5,
                color=theme.quiet,
            )
            place = name.get_window_extent().expanded(1.1, 1.1)
            if any(place.overlaps(other) for other in taken):
                name.remove()
            else:
                taken.append(place)
