"""What all figures have in common: paper, title, note, axes. No figure here is known to pyplot or shown anywhere."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from rheostat.report.theme import Theme
from rheostat.report.wording import FONT, drawable

INCHES_PER_CHARACTER = 0.0079
"""Mean width of a character, in inches per point of font size."""


def blank(width: float, height: float, title: str, note: str, theme: Theme) -> Figure:
    """Return an empty figure whose drawing area is about `width` × `height` inches, with room for title and note."""
    titles, notes = _wrapped(title, width, 12.0), _wrapped(note, width, 9.0)
    extra = 0.24 * (titles.count("\n") + 1) * bool(titles) + 0.17 * (notes.count("\n") + 1) * bool(notes)
    figure = Figure(figsize=(width, height + extra), layout="constrained", facecolor=theme.background)
    if titles:
        figure.suptitle(titles, x=0.012, ha="left", fontsize=12, fontweight="bold", color=theme.ink)
    if notes:
        figure.supxlabel(notes, x=0.012, ha="left", fontsize=9, color=theme.quiet)
    return figure


def empty(title: str, note: str, theme: Theme) -> Figure:
    """Return a figure that says that there is nothing to show."""
    figure = blank(5.0, 1.0, title, note, theme)
    figure.text(0.5, 0.5, "no values", ha="center", va="center", fontsize=11, color=theme.quiet)
    return finish(figure)


def add_axes(figure: Figure, theme: Theme, *, x_label: str, y_label: str) -> Axes:
    """Add the one pair of axes, with quiet horizontal grid lines."""
    axes = figure.add_subplot()
    axes.set_facecolor(theme.background)
    axes.set_xlabel(drawable(x_label), fontsize=10, color=theme.ink)
    axes.set_ylabel(drawable(y_label), fontsize=10, color=theme.ink)
    axes.tick_params(colors=theme.ink, labelsize=9, length=3)
    axes.grid(axis="y", color=theme.faint, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.quiet)
    return axes


def add_legend(axes: Axes, theme: Theme, *, width: float) -> None:
    """Put the legend above the axes, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    longest = max(len(label) for label in labels) * 9 * INCHES_PER_CHARACTER + 0.65
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=max(1, min(len(labels), int((width - 1) / longest))),
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        handlelength=2.6,
        borderaxespad=0.2,
    )


def label_places(axes: Axes, labels: list[str], *, width: float) -> None:
    """Put one tick per label on the x axis, thinned and turned where they would run into each other."""
    room = width / max(len(labels), 1)
    step = max(1, -(-len(labels) * 17 // int(width * 100)))
    longest = max((len(label) for label in labels), default=0) * 9 * INCHES_PER_CHARACTER
    turned, upright = longest > room * step * 0.95, room * step < 0.35
    places = list(range(0, len(labels), step))
    axes.set_xticks(places, labels=[drawable(labels[i]) for i in places])
    if turned:
        axes.tick_params(axis="x", labelrotation=90 if upright else 40)
        for text in axes.get_xticklabels():
            text.set(ha="center" if upright else "right", rotation_mode="default" if upright else "anchor")


def whole_number_ticks(axes: Axes) -> None:
    """Allow x ticks at whole numbers only, as for blocks."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def finish(figure: Figure) -> Figure:
    """Set every text in our font and literally: a `$` in a token is no formula."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontfamily(FONT)
        text.set_parse_math(False)
        text.set_usetex(False)
    return figure


def _wrapped(text: str, width: float, size: float) -> str:
    columns = max(20, int(width / (size * INCHES_PER_CHARACTER)))
    lines = (textwrap.fill(drawable(line), columns) for line in text.splitlines())
    return "\n".join(lines)
