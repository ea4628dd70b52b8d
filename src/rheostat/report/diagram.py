"""A transformer block as a drawing: the residual stream upwards, two branches adding into it, four places to read.

Heights, widths and places below are in the panel's own units: 10 across, 15 up.
"""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from rheostat.base.shapes import BlockDiagram
from rheostat.report.canvas import blank, finish
from rheostat.report.theme import Theme
from rheostat.report.wording import NO_VALUE, drawable, number, shortened

MOST_PANELS = 4
STREAM = 1.3
"""Where the residual stream runs, from the left."""
POINTS = {"attn_out": 5.3, "resid_mid": 7.2, "mlp_out": 11.9, "resid_post": 13.7}
"""The height of each decode point."""
LENGTH = 7.2
"""The length of a bar for probability 1."""


def draw_diagram(diagram: BlockDiagram, theme: Theme) -> Figure:
    """Return one panel per block, four at most: of more blocks, evenly spread ones with the first and the last."""
    blocks = list(diagram.table["block"].drop_duplicates())
    shown = [blocks[i] for i in np.unique(np.linspace(0, len(blocks) - 1, MOST_PANELS).round().astype(int))]
    note = diagram.note if len(shown) == len(blocks) else f"{diagram.note} {len(shown)} of {len(blocks)} blocks shown."
    figure = blank(max(3.3 * len(shown), 4.4), 4.9, diagram.title, note.strip(), theme)
    for axes, block in zip(np.ravel(figure.subplots(1, len(shown), squeeze=False)), shown, strict=True):
        _draw_block(axes, diagram.table[diagram.table["block"] == block], theme)
        axes.set_title(f"block {block}", fontsize=10.5, color=theme.ink, loc="left")
    return finish(figure)


def _draw_block(axes: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    axes.set(xlim=(0, 10), ylim=(0, 15))
    axes.set_axis_off()
    _arrow(axes, [(STREAM, 0.3), (STREAM, 14.9)], theme, width=3.0)
    axes.text(STREAM + 0.45, 0.25, "residual stream in", fontsize=8, color=theme.quiet, va="bottom")
    _add_branch(axes, "norm → attention", theme.series[0], start=1.5, end=POINTS["attn_out"], theme=theme)
    _add_branch(axes, "norm → MLP", theme.series[1], start=8.1, end=POINTS["mlp_out"], theme=theme)
    rows_by_point = {row["point"]: row for row in rows.to_dict("records")}
    for point, height in POINTS.items():
        on_branch = point.endswith("_out")
        row = rows_by_point.get(point)
        _add_reading(axes, point, row, height=height, on_branch=on_branch, theme=theme)


def _add_branch(axes: Axes, name: str, colour: str, *, start: float, end: float, theme: Theme) -> None:
    """Draw a sublayer that reads the stream at `start` and adds to it at `end`."""
    middle = 5.6
    _arrow(axes, [(STREAM, start), (middle, start), (middle, start + 0.9)], theme)
    box = FancyBboxPatch(
        (2.9, start + 0.95), 5.6, 1.15, boxstyle="round,pad=0.05,rounding_size=0.25", fc=colour, ec="none", alpha=0.22
    )
    axes.add_patch(box)
    axes.text(middle, start + 1.5, name, ha="center", va="center", fontsize=9.5, color=theme.ink)
    _arrow(axes, [(middle, start + 2.15), (middle, end), (STREAM + 0.42, end)], theme)
    axes.add_patch(Circle((STREAM, end), 0.36, fc=theme.background, ec=theme.ink, lw=1.4, zorder=4))
    axes.text(STREAM, end - 0.02, "+", ha="center", va="center", fontsize=11, color=theme.ink, zorder=5)


def _add_reading(
    axes: Axes, point: str, row: dict[Hashable, Any] | None, *, height: float, on_branch: bool, theme: Theme
) -> None:
    """Mark a decode point, with the token read there and a bar as long as its probability."""
    x = 2.5 if on_branch else STREAM
    axes.add_patch(Circle((x, height), 0.17, fc=theme.series[3], ec=theme.background, lw=0.8, zorder=6))
    bottom = height + 0.28 if on_branch else height - 0.42
    probability = np.nan if row is None else float(row["probability"])
    word = NO_VALUE if row is None or not isinstance(row["token"], str) else row["token"]
    filled = 0.0 if np.isnan(probability) else LENGTH * probability
    for length, alpha in ((LENGTH, 0.13), (filled, 0.42)):
        axes.add_patch(Rectangle((2.5, bottom), length, 0.84, fc=theme.series[3], ec="none", alpha=alpha))
    axes.text(2.65, bottom + 0.41, point, va="center", fontsize=7.5, color=theme.quiet)
    token = shortened(drawable(word), 14)
    axes.text(5.1, bottom + 0.41, token, va="center", fontsize=9, fontweight="bold", color=theme.ink)
    axes.text(9.6, bottom + 0.41, number(probability, digits=2), va="center", ha="right", fontsize=8.5, color=theme.ink)


def _arrow(axes: Axes, path: list[tuple[float, float]], theme: Theme, *, width: float = 1.3) -> None:
    """Draw straight pieces through the places of `path`, with a head at the end."""
    *bends, last = path
    axes.plot(*zip(*bends, strict=True), color=theme.quiet, linewidth=width, solid_capstyle="round")
    head = FancyArrowPatch(bends[-1], last, arrowstyle="-|>", mutation_scale=9 + 2 * width, shrinkA=0, shrinkB=0)
    head.set(linewidth=width, color=theme.quiet)
    axes.add_patch(head)
