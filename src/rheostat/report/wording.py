"""Numbers and tokens as text: the same in the terminal, in figures and in pages."""

import math
from functools import cache
from numbers import Integral, Real

import pandas as pd
from matplotlib.font_manager import findfont, get_font

from rheostat.studies.record import Measurement

FONT = "DejaVu Sans"
"""The font of all figures. It comes with matplotlib, so that a figure looks the same on every machine."""

NO_VALUE = "–"


def number(value: float, *, digits: int = 3, sign: bool = False) -> str:
    """Return `value` with `digits` significant digits: whole numbers in full, a dash for NaN."""
    if math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    plus = "+" if sign else ""
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):{plus}d}"
    return f"{value:{plus}.{digits}g}"


def cell(value: object) -> str:
    """Return any table cell as one line of printable text."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return NO_VALUE
    if isinstance(value, (bool, str)):
        return printable(str(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return number(float(value), digits=4)
    return printable(str(value))


def interval(measurement: Measurement) -> str:
    """Return `+0.42 [+0.31, +0.53]`: effect − control with its 95 % interval."""
    difference = number(measurement.effect - measurement.control, sign=True)
    low, high = number(measurement.low, sign=True), number(measurement.high, sign=True)
    return f"{difference} [{low}, {high}]"


def duration(seconds: float) -> str:
    """Return `1 h 05 min`, `3 min 20 s` or `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def printable(text: str) -> str:
    r"""Write control, direction and exotic space characters as `\n`, `\x1b`, `\u202e`: none may act on a terminal."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def drawable(text: str) -> str:
    r"""Write characters that the figures' font lacks as `\u4e2d`; an empty box would hide which token it was."""
    known = _font_characters()
    return "".join(c if c.isprintable() and ord(c) in known else _escaped(c) for c in text)


def shortened(text: str, length: int) -> str:
    """Cut `text` to `length` characters, the last one an ellipsis."""
    return text if len(text) <= length else f"{text[: max(length - 1, 1)]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@cache
def _font_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
