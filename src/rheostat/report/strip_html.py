"""A token strip as HTML: running text that can be selected and searched, each token with its number."""

import math

from markupsafe import Markup

from rheostat.base.shapes import TokenStrip
from rheostat.report.pieces import legend, pieces
from rheostat.report.templates import template
from rheostat.report.theme import both_scales, cell_style, ramp_style, value_limits
from rheostat.report.wording import number


def strip_html(strip: TokenStrip) -> Markup:
    """Return the texts of `strip` as coloured tokens; the colours follow the reader's light or dark preference."""
    low, high = value_limits(strip)
    scales = both_scales(strip)
    texts = [
        {
            "label": text.label,
            "pieces": [
                {
                    "word": piece.word,
                    "number": piece.number,
                    "framed": piece.framed,
                    "style": "" if math.isnan(piece.value) else cell_style(scales, piece.value),
                }
                for piece in text.pieces
            ],
        }
        for text in pieces(strip)
    ]
    return Markup(  # noqa: S704 (the template escapes)
        template("tokens.html").render(
            strip=strip,
            texts=texts,
            legend=legend(strip),
            low=number(low),
            high=number(high),
            ramp=ramp_style(scales, low, high),
        )
    )
