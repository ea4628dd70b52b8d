"""Results as terminal tables. They are returned, not printed; without colour they say the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from rheostat.base.shapes import Grid, TokenStrip
from rheostat.report.cells import arrange
from rheostat.report.pieces import Piece, TextPieces, legend, pieces
from rheostat.report.theme import THEMES, colour_scale
from rheostat.report.verdicts import BADGES
from rheostat.report.wording import cell, interval, number, printable, shortened
from rheostat.studies.record import Verdict

LONGEST_TEXT = 16


def grid_table(grid: Grid) -> Table:
    """Return `grid` with its cells coloured by value, and the value printed beside each text."""
    cells = arrange(grid)
    scale = colour_scale(grid, THEMES["dark"])
    caption = Text(" ".join(filter(None, (f"{grid.y_label} × {grid.x_label}; {grid.value_label}.", grid.note))))
    table = Table(title=_title(grid.title), caption=caption, title_justify="left", caption_justify="left", box=None)
    widest = max(len(label) for label in (*cells.rows, shortened(grid.y_label, 8)))
    table.add_column(Text(printable(grid.y_label)), justify="right", style="bold", no_wrap=True, min_width=widest)
    for column in cells.columns:
        table.add_column(Text(column), justify="left", no_wrap=True)
    for i, label in enumerate(cells.rows):
        row = [Text(label)]
        for j, value in enumerate(cells.values[i]):
            word = shortened(printable(cells.text[i][j]), LONGEST_TEXT) if cells.text is not None else ""
            style = "" if np.isnan(value) else f"{scale.ink(float(value))} on {scale.background(float(value))}"
            row.append(Text(f" {word} {number(float(value), digits=2)} ".replace("  ", " "), style=style))
        table.add_row(*row)
    return table


@dataclass(frozen=True)
class StripText:
    """A token strip for the terminal: lines of coloured tokens, and below each line the values; ▲ above the threshold.

    The lines break where the console that prints it ends.
    """

    strip: TokenStrip

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        if title := _title(self.strip.title):
            yield title
        scale = colour_scale(self.strip, THEMES["dark"])
        for text in pieces(self.strip):
            if text.label:
                yield Text(text.label, style="bold")
            for line in _broken(text, options.max_width):
                words, numbers = Text(no_wrap=True), Text(no_wrap=True)
                for piece, width in line:
                    coloured = f"{scale.ink(piece.value)} on {scale.background(piece.value)}"
                    words.append(piece.word, "" if np.isnan(piece.value) else coloured)
                    words.append(" " * (width - cell_len(piece.word)))
                    numbers.append(_marked(piece).ljust(width), "bold" if piece.framed else "")
                yield words
                yield numbers
        note = legend(self.strip).replace("framed", "▲") + f" {self.strip.note}"
        yield Text(printable(note.strip()), style="italic")


def _marked(piece: Piece) -> str:
    return piece.number + "▲" * piece.framed


def _broken(text: TextPieces, columns: int) -> Iterator[list[tuple[Piece, int]]]:
    """Yield lines of (token, columns that it takes, with a space after it)."""
    line: list[tuple[Piece, int]] = []
    used = 0
    for piece in text.pieces:
        width = max(cell_len(piece.word), len(_marked(piece))) + 1
        if line and used + width > columns:
            yield line
            line, used = [], 0
        line.append((piece, width))
        used += width
    if line:
        yield line


def frame_table(frame: pd.DataFrame, title: str | None = None) -> Table:
    """Return a DataFrame with its numbers aligned to the right; the index is left out."""
    table = Table(title=_title(title), title_justify="left", header_style="bold")
    for column in frame.columns:
        is_number = pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(Text(printable(str(column))), justify="right" if is_number else "left")
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*(Text(cell(value)) for value in row))
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row per claim and measurement: verdict, effect − control with its interval, n, and the reason."""
    table = Table(header_style="bold", show_lines=True)
    for name in ("claim", "verdict", "model", "effect − control [95 % interval]", "n", "reason"):
        table.add_column(name, justify="right" if name == "n" else "left", overflow="fold")
    for verdict in verdicts:
        badge = BADGES[verdict.verdict]
        measured = verdict.measurements
        table.add_row(
            Text(verdict.claim),
            Text(f"{badge.sign} {badge.label}", style=f"bold {badge.style}"),
            Text("\n".join(printable(m.model) for m in measured)),
            Text("\n".join(interval(m) for m in measured)),
            Text("\n".join(str(m.n) for m in measured)),
            Text(printable(verdict.reason)),
        )
    return table


def _title(title: str | None) -> Text | None:
    return Text(printable(title), style="bold") if title else None
