"""Token strips: a text in coloured tokens, with each value written below its token."""

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from rheostat.base.shapes import TokenStrip
from rheostat.report.canvas import blank, finish
from rheostat.report.pieces import Piece, legend, pieces
from rheostat.report.theme import ColourScale, Theme, colour_scale
from rheostat.report.wording import FONT, drawable, shortened

WIDTH = 9.0
"""Inches across which tokens run before they continue below."""
LINE = 0.52
"""Inches from one line of tokens to the next."""
WORD, NUMBER = 10.0, 7.0
"""Font sizes."""
MOST_LINES = 40
GAP, PAD = 0.05, 0.06


def draw_strip(strip: TokenStrip, theme: Theme) -> Figure:
    """Return the tokens as boxes in reading order; a frame marks those above the threshold."""
    scale = colour_scale(strip, theme)
    lines = _lines(strip)
    note = f"{legend(strip).capitalize()} {strip.note}".strip()
    if len(lines) > MOST_LINES:
        note += f" The first {MOST_LINES} of {len(lines)} lines are drawn; all are in the numbers."
        lines = lines[:MOST_LINES]
    figure = blank(WIDTH, len(lines) * LINE + 0.65, strip.title, note, theme)
    axes = figure.add_subplot()
    axes.set(xlim=(0, WIDTH), ylim=(len(lines) * LINE, 0))
    axes.set_axis_off()
    for index, (label, line) in enumerate(lines):
        top = index * LINE
        if label:
            axes.text(0.02, top + 0.2, label, va="center", fontsize=8, color=theme.quiet)
        for left, width, piece in line:
            _draw_piece(axes, piece, (left, top, width), scale, theme)
    bar = figure.colorbar(
        ScalarMappable(scale.norm, scale.colours), ax=axes, orientation="horizontal", aspect=45, shrink=0.5, pad=0.02
    )
    bar.set_label(drawable(strip.value_label), fontsize=9, color=theme.ink)
    bar.ax.tick_params(colors=theme.ink, labelsize=8, length=3)
    bar.outline.set_visible(False)
    return finish(figure)


def _draw_piece(axes: Axes, piece: Piece, place: tuple[float, float, float], scale: ColourScale, theme: Theme) -> None:
    left, top, width = place
    empty = piece.number == "–"
    fill = "none" if empty else scale.background(piece.value)
    edge = theme.ink if piece.framed else (theme.quiet if empty else fill)
    box = Rectangle((left, top + 0.06), width, 0.26, fc=fill, ec=edge, lw=1.8 if piece.framed else 0.8)
    axes.add_patch(box)
    ink = theme.ink if empty else scale.ink(piece.value)
    middle = left + width / 2
    axes.text(middle, top + 0.19, _word(piece), ha="center", va="center", fontsize=WORD, color=ink)
    weight = "bold" if piece.framed else "normal"
    axes.text(
        middle, top + 0.41, piece.number, ha="center", va="center", fontsize=NUMBER, color=theme.ink, fontweight=weight
    )


def _lines(strip: TokenStrip) -> list[tuple[str, list[tuple[float, float, Piece]]]]:
    """Break the texts into lines: a label at the first line of each text, then (left, width, token)."""
    texts = pieces(strip)
    margin = max((_width(shortened(drawable(text.label), 24), 8) for text in texts if text.label), default=0.0)
    start = margin + 0.15 if margin else 0.0
    lines: list[tuple[str, list[tuple[float, float, Piece]]]] = []
    for text in texts:
        left = start
        lines.append((shortened(drawable(text.label), 24), []))
        for piece in text.pieces:
            width = max(_width(_word(piece), WORD), _width(piece.number, NUMBER)) + 2 * PAD
            if left + width > WIDTH and lines[-1][1]:
                left = start
                lines.append(("", []))
            lines[-1][1].append((left, width, piece))
            left += width + GAP
    return lines


def _word(piece: Piece) -> str:
    return shortened(drawable(piece.word.strip(" ") or "␣" * len(piece.word)), 60)


def _width(text: str, size: float) -> float:
    """Return the width of a text in inches."""
    points: float = text_to_path.get_text_width_height_descent(text, FontProperties(FONT, size=size), False)[0]
    return points / 72
