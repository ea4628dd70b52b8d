"""Result shapes drawn with matplotlib, and saved as PNG with their numbers beside them as CSV."""

import io
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from rheostat.base.files import atomic_file
from rheostat.base.shapes import BlockDiagram, Figure, Grid, Profile, Scatter, TokenStrip
from rheostat.report.canvas import empty
from rheostat.report.diagram import draw_diagram
from rheostat.report.grid import draw_grid
from rheostat.report.profile import draw_profile
from rheostat.report.scatter import draw_scatter
from rheostat.report.strip import draw_strip
from rheostat.report.theme import THEMES, ThemeName

DOTS_PER_INCH = 144


def draw(figure: Figure, *, theme: ThemeName = "light") -> Drawing:
    """Return `figure` as a matplotlib figure. It is not known to pyplot: nothing is shown, nothing needs closing."""
    if figure.table.empty:
        return empty(figure.title, figure.note, THEMES[theme])
    match figure:
        case Profile():
            return draw_profile(figure, THEMES[theme])
        case Grid():
            return draw_grid(figure, THEMES[theme])
        case Scatter():
            return draw_scatter(figure, THEMES[theme])
        case BlockDiagram():
            return draw_diagram(figure, THEMES[theme])
        case TokenStrip():
            return draw_strip(figure, THEMES[theme])


def png(figure: Figure, *, theme: ThemeName = "light") -> bytes:
    """Return `figure` as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    drawing = draw(figure, theme=theme)
    drawing.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor=THEMES[theme].background)
    return buffer.getvalue()


def write_png(figure: Figure, path: Path, *, theme: ThemeName = "light") -> None:
    """Draw `figure` to `path`."""
    picture = png(figure, theme=theme)
    with atomic_file(path) as temporary:
        temporary.write_bytes(picture)


def csv(figure: Figure) -> str:
    """Return the numbers of `figure`, in full precision."""
    return figure.table.to_csv(index=False, lineterminator="\n")


def write_csv(figure: Figure, path: Path) -> None:
    """Write the numbers of `figure` to `path`."""
    with atomic_file(path) as temporary:
        temporary.write_text(csv(figure), encoding="utf-8", newline="\n")
