"""Coloured tokens say the same in the terminal, as HTML and as a picture, in both themes and to every reader."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from rich.console import Console

from rheostat.base.shapes import TokenStrip
from rheostat.report.figures import draw
from rheostat.report.page import describe, page
from rheostat.report.pieces import pieces
from rheostat.report.strip import MOST_LINES
from rheostat.report.strip_html import strip_html
from rheostat.report.templates import template
from rheostat.report.terminal import StripText
from rheostat.report.theme import THEMES, both_scales, colour_scale
from tests.report.test_page import EVIL, Seen

WORDS = ["The", " weather", " is", " awful", EVIL, "\x1b[31m", "\n"]
VALUES = [0.0, 0.5, 1.25, -1.5, 9.0, math.nan, -0.25]


def strip(**given) -> TokenStrip:
    table = pd.DataFrame({"token": WORDS, "value": VALUES})
    fields = {"name": "t", "title": "Joy [of] it", "value_label": "score of joy", "table": table, "limits": (-2.0, 2.0)}
    return TokenStrip(**{**fields, "threshold": 1.0, "note": "n = 7 tokens.", **given})


def printed(shown: TokenStrip, *, colour: bool = False, width: int = 100) -> str:
    system = "truecolor" if colour else None
    console = Console(file=io.StringIO(), width=width, force_terminal=colour, color_system=system, no_color=not colour)
    console.print(StripText(shown))
    return console.file.getvalue()


# --- the same words and numbers everywhere ----------------------------------------------------------------------------


def test_every_form_shows_each_token_with_its_number_and_sign():
    html, drawing = str(strip_html(strip())), draw(strip())
    drawing.savefig(io.BytesIO(), format="png")
    drawn = [text.get_text() for text in drawing.findobj(Text)]
    seen = Seen(html).text
    for word, value in (("weather", "+0.5"), ("is", "+1.2"), ("awful", "-1.5"), (EVIL, "+9"), ("\\n", "-0.25")):
        for form in (printed(strip()), seen):
            assert re.search(rf"{re.escape(word)}[\s\S]*{re.escape(value)}", form)
        assert word in drawn and value in drawn
    assert "–" in seen and "–" in drawn, "a token without a value"


def test_what_lies_above_the_threshold_is_marked_without_colour():
    marked = [piece.word for piece in pieces(strip())[0].pieces if piece.framed]
    assert marked == [" is", EVIL]
    assert str(strip_html(strip())).count("token framed") == 2
    assert printed(strip()).count("+1.2▲") == printed(strip()).count("+9▲") == 1
    boxes = [patch for patch in draw(strip()).findobj(Rectangle) if patch.get_linewidth() == 1.8]
    assert len(boxes) == 2
    assert "framed" not in str(strip_html(strip(threshold=None)))
    assert "▲" not in printed(strip(threshold=None))


def test_neither_form_lets_a_token_act():
    assert "\x1b" not in printed(strip())
    html = str(strip_html(strip()))
    assert EVIL not in html and "&lt;script&gt;" in html
    assert "\\x1b[31m" in html


def test_the_terminal_breaks_lines_where_they_end_and_keeps_numbers_below_words():
    lines = printed(strip(), width=34).splitlines()
    assert all(len(line) <= 34 for line in lines)
    words = next(index for index, line in enumerate(lines) if " weather" in line)
    assert lines[words].index(" weather") == lines[words + 1].index("+0.5")
    assert printed(strip(), colour=True).count("48;2;") == 6, "six tokens have a value"


def test_several_texts_begin_at_their_label():
    table = pd.DataFrame({"token": ["a", "b", "c"], "value": [1.0, -1, 0], "text": ["text 0", "text 0", "text 1"]})
    two = strip(table=table)
    assert [(each.label, len(each.pieces)) for each in pieces(two)] == [("text 0", 2), ("text 1", 1)]
    assert Seen(str(strip_html(two))).all("p")[:2] == [{}, {}]
    assert printed(two).index("text 0") < printed(two).index("text 1")


def test_a_long_text_is_drawn_up_to_a_number_of_lines_and_says_so():
    table = pd.DataFrame({"token": [" word"] * 2000, "value": 0.5})
    notes = [text.get_text() for text in draw(strip(table=table)).findobj(Text)]
    assert any(f"The first {MOST_LINES} of " in note.replace("\n", " ") for note in notes)


def test_a_page_holds_the_tokens_as_text_and_describes_them():
    html = page("A page", figures={"t": strip()})
    seen = Seen(html)
    assert "awful" in seen.text and "Numbers as CSV (7 rows)" in seen.text
    assert not seen.all("img")
    assert describe(strip()) == "Joy [of] it. Text of 7 coloured tokens; score of joy from -1.5 to 9."


# --- readable by everyone ---------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_every_word_stands_out_from_its_colour_by_four_and_a_half(theme):
    scale = colour_scale(strip(), theme)
    for value in np.linspace(-2, 2, 201):
        assert contrast(scale.background(value), scale.ink(value)) >= 4.5


def test_numbers_and_frames_stand_out_from_the_page_in_both_themes():
    css = template("page.css").render()
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media (prefers-color-scheme: dark)")[:2]
    ]
    for theme in themes:
        assert contrast(theme["quiet"], theme["paper"]) >= 4.5, "numbers"
        assert contrast(theme["ink"], theme["paper"]) >= 4.5, "frames and numbers above the threshold"


def test_the_page_gives_each_token_its_own_colours_for_light_and_dark():
    light, dark = both_scales(strip())
    html = str(strip_html(strip()))
    assert f"--l:{light.background(-1.5)};--li:{light.ink(-1.5)};--d:{dark.background(-1.5)}" in html


COLOUR_BLIND = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""Linear RGB as such readers see it (Machado, Oliveira and Fernandes 2009)."""


def seen_by(kind: str, colour: str) -> np.ndarray:
    """Return CIE Lab of a colour as a colour-blind reader sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(COLOUR_BLIND[kind]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def differ(kind: str, one: str, other: str) -> float:
    return float(np.linalg.norm(seen_by(kind, one) - seen_by(kind, other)))


@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_colour_blind_readers_tell_more_from_less_and_from_neither(kind):
    for scale in both_scales(strip()):
        less, neither, more = (scale.background(value) for value in (-1.0, 0.0, 1.0))
        assert differ(kind, less, more) > 30
        assert min(differ(kind, less, neither), differ(kind, more, neither)) > 15
    red, green = "#c0392b", "#5b8c2a"
    assert differ(kind, red, green) < 30, "the check can fail: what most such readers confuse does"
