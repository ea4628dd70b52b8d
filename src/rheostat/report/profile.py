"""Profiles: one line per series with its interval, against named reference lines."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rheostat.base.shapes import Profile
from rheostat.report.canvas import add_axes, add_legend, blank, finish, label_places, whole_number_ticks
from rheostat.report.theme import Theme, series_style
from rheostat.report.wording import cell, drawable, number

WIDTH, HEIGHT = 8.0, 4.4


def draw_profile(profile: Profile, theme: Theme) -> Figure:
    """Return lines over the x axis, with bands for 95 % intervals; a missing value leaves a gap in its line."""
    figure = blank(WIDTH, HEIGHT, profile.title, profile.note, theme)
    axes = add_axes(figure, theme, x_label=profile.x_label, y_label=profile.y_label)
    places = _x_places(axes, profile.table["x"])
    for index, series in enumerate(profile.table["series"].drop_duplicates()):
        chosen = (profile.table["series"] == series).to_numpy()
        _add_line(axes, profile.table[chosen], places[chosen], cell(series), index, theme)
    _add_references(axes, profile.reference, theme)
    add_legend(axes, theme, width=WIDTH)
    return finish(figure)


def _x_places(axes: Axes, x: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return where each row lies on the x axis: its number, or the place at which its label first appears."""
    if pd.api.types.is_numeric_dtype(x):
        places: NDArray[np.float64] = np.asarray(x.to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)
        if np.all(places[np.isfinite(places)] % 1 == 0):
            whole_number_ticks(axes)
        return places
    codes, labels = pd.factorize(x)
    label_places(axes, [cell(label) for label in labels], width=WIDTH - 1)
    return codes.astype(float)


def _add_line(axes: Axes, rows: pd.DataFrame, x: NDArray[np.float64], label: str, index: int, theme: Theme) -> None:
    style = series_style(index, theme)
    order = np.argsort(x, kind="stable")
    x = x[order]
    axes.plot(
        x,
        rows["value"].to_numpy(dtype=float, na_value=np.nan)[order],
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        markevery=max(1, len(x) // 40),
        markersize=4.5,
        linewidth=1.6,
        label=drawable(label),
    )
    if {"low", "high"} <= set(rows.columns):
        low, high = (rows[end].to_numpy(dtype=float, na_value=np.nan)[order] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0)


def _add_references(axes: Axes, reference: dict[str, float], theme: Theme) -> None:
    """Draw the named lines, their names in the right margin, moved apart where they would overlap."""
    lines = sorted((value, name) for name, value in reference.items() if np.isfinite(value))
    for value, _ in lines:
        axes.axhline(value, color=theme.quiet, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1.5)
    bottom, top = axes.get_ylim()
    height, last = 0.055, -np.inf
    for value, name in lines:
        last = max((value - bottom) / (top - bottom), last + height)
        axes.text(
            1.008,
            last,
            drawable(f"{name} {number(value)}"),
            transform=axes.transAxes,
            va="center",
            fontsize=8.5,
            color=theme.quiet,
        )
