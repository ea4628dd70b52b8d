"""Colours: a light and a dark theme, line styles that differ in more than colour, and values as cell colours."""

from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, Normalize, to_hex

from rheostat.base.shapes import Grid, TokenStrip

ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Theme:
    """The colours of one rendition of a figure."""

    background: str
    ink: str
    faint: str
    """Grid lines and frames."""
    quiet: str
    """Notes and reference lines."""
    series: tuple[str, ...]
    """Okabe and Ito's colours, which colour-blind readers can tell apart; those too near the background come last."""
    diverging: str
    """Blue below the centre, red above; the centre is near the background."""
    sequential: str = "viridis"


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        background="#ffffff",
        ink="#16191d",
        faint="#dde1e6",
        quiet="#5b636d",
        series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#16191d"),
        diverging="RdBu_r",
    ),
    "dark": Theme(
        background="#14171c",
        ink="#e8eaed",
        faint="#333a44",
        quiet="#a3abb6",
        series=("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#e8eaed"),
        diverging="berlin",
    ),
}

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class SeriesStyle:
    """How one series looks: no two of the first 28 agree in colour, marker and line together."""

    colour: str
    marker: str
    line: str


def series_style(index: int, theme: Theme) -> SeriesStyle:
    """Return the style of the series at `index`."""
    n = len(theme.series)
    return SeriesStyle(theme.series[index % n], MARKERS[index % n], LINES[(index % n + index // n) % len(LINES)])


@dataclass(frozen=True)
class ColourScale:
    """A value as a cell's colour, and the text colour that reads best on it."""

    colours: Colormap
    norm: Normalize

    def background(self, value: float) -> str:
        """Return the hex colour of a cell holding `value`, which is not NaN."""
        return to_hex(self.colours(float(self.norm(value))))

    def ink(self, value: float) -> str:
        """Return black or white, whichever contrasts more with the cell; the ratio is at least 4.5."""
        return "#000000" if _luminance(self.background(value)) > 0.179 else "#ffffff"


Coloured = Grid | TokenStrip
"""The shapes whose values are colours."""


def colour_scale(figure: Coloured, theme: Theme) -> ColourScale:
    """Return the scale of a figure: symmetric about its centre, else over its limits, else over its values."""
    low, high = value_limits(figure)
    name = theme.sequential if figure.centre is None else theme.diverging
    return ColourScale(matplotlib.colormaps[name], Normalize(low, high, clip=True))


def both_scales(figure: Coloured) -> tuple[ColourScale, ColourScale]:
    """Return the scales of a figure in the light and in the dark theme."""
    return colour_scale(figure, THEMES["light"]), colour_scale(figure, THEMES["dark"])


def cell_style(scales: tuple[ColourScale, ColourScale], value: float) -> str:
    """Return the CSS variables of a cell holding `value`: background and ink, light and dark."""
    light, dark = scales
    return f"--l:{light.background(value)};--li:{light.ink(value)};--d:{dark.background(value)};--di:{dark.ink(value)}"


def ramp_style(scales: tuple[ColourScale, ColourScale], low: float, high: float) -> str:
    """Return the CSS variables of the bar that shows the colours from the lowest to the highest value."""
    ramps = [",".join(scale.background(low + (high - low) * step / 8) for step in range(9)) for scale in scales]
    return f"--l:linear-gradient(to right,{ramps[0]});--d:linear-gradient(to right,{ramps[1]})"


def value_limits(figure: Coloured) -> tuple[float, float]:
    """Return the values at the two ends of the colour scale; never equal."""
    values = figure.table["value"].to_numpy(dtype=float, na_value=np.nan)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if figure.limits is not None:
        low, high = figure.limits
    if figure.centre is not None:
        half = max(abs(low - figure.centre), abs(high - figure.centre)) or 1.0
        return figure.centre - half, figure.centre + half
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _luminance(colour: str) -> float:
    """Return the relative luminance of a hex colour, as the web's accessibility guidelines define it."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
