"""A token strip's table as pieces to show: the word, the number beside it, and whether it is framed."""

import math
from dataclasses import dataclass

import numpy as np

from rheostat.base.shapes import TokenStrip
from rheostat.report.wording import cell, number, printable


@dataclass(frozen=True)
class Piece:
    """One token."""

    word: str
    """As in running text, its leading space kept; nothing in it acts on a terminal."""
    value: float
    number: str
    """The value with its sign, so that the colour says nothing that is not also written."""
    framed: bool
    """Whether the value lies above the strip's threshold."""


@dataclass(frozen=True)
class TextPieces:
    """The tokens of one text."""

    label: str
    pieces: tuple[Piece, ...]


def pieces(strip: TokenStrip) -> list[TextPieces]:
    """Return the texts of a strip in the order of its table."""
    table = strip.table
    labels = [cell(text) for text in table["text"]] if "text" in table.columns else [""] * len(table)
    values = table["value"].to_numpy(dtype=float, na_value=np.nan)
    found: list[tuple[str, list[Piece]]] = []
    for label, token, value in zip(labels, table["token"], values, strict=True):
        if not found or found[-1][0] != label:
            found.append((label, []))
        framed = strip.threshold is not None and bool(value > strip.threshold)
        shown = number(float(value), digits=2, sign=strip.centre is not None)
        found[-1][1].append(Piece(printable(token) or "∅", float(value), shown, framed))
    return [TextPieces(label, tuple(each)) for label, each in found]


def legend(strip: TokenStrip) -> str:
    """Return what the numbers and frames mean, in one sentence."""
    if strip.threshold is None or math.isnan(strip.threshold):
        return f"{strip.value_label}."
    return f"{strip.value_label}; framed above {number(strip.threshold)}."
