"""Figures show the planted values, in colours and signs that all readers can tell apart."""

import csv
import dataclasses
import io
import math
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from rheostat.base.errors import InternalError
from rheostat.base.shapes import BlockDiagram, Figure, Grid, Profile, Scatter, TokenStrip
from rheostat.report.figures import draw, png, write_csv, write_png
from rheostat.report.theme import THEMES, colour_scale, series_style, value_limits
from rheostat.report.wording import drawable

POINTS = ("attn_out", "resid_mid", "mlp_out", "resid_post")
STRANGE = [
    "␣Berlin",
    "中文",
    "العربية",
    "😀",
    "🧠",
    "$x$",
    "$",
    "\\frac",
    "<script>",
    "\x1b[31m",
    "a\nb",
    "\u202e",
    "\ufffd",
]


def profile(**given) -> Profile:
    table = pd.DataFrame(
        {
            "x": [0, 1, 2, 0, 1, 2],
            "value": [0.1, 0.6, 0.3, 0.2, np.nan, 0.2],
            "series": ["patched"] * 3 + ["control"] * 3,
            "low": [0.05, 0.5, 0.2, 0.1, np.nan, 0.1],
            "high": [0.15, 0.7, 0.4, 0.3, np.nan, 0.3],
        }
    )
    fields = {"name": "p", "title": "Planted peak", "x_label": "block", "y_label": "accuracy, share", "table": table}
    return Profile(**{**fields, "note": "n = 24 queries", "reference": {"chance": 0.25}, **given})


def grid(**given) -> Grid:
    table = pd.DataFrame(
        {
            "x": ["attn_out", "mlp_out"] * 3,
            "y": [2, 2, 0, 0, 1, 1],
            "value": [0.0, 1.0, 0.5, np.nan, 0.25, 0.75],
        }
    )
    fields = {"x_label": "point", "y_label": "block", "value_label": "probability", "table": table}
    return Grid(**{"name": "g", "title": "Planted grid", **fields, **given})


def lens(words: list[str]) -> Grid:
    rows = [
        (p, block, (block + 1) / 30, words[(4 * block + i) % len(words)])
        for block in range(30)
        for i, p in enumerate(POINTS)
    ]
    return grid(table=pd.DataFrame(rows, columns=["x", "y", "value", "text"]), limits=(0.0, 1.0))


def scatter(n: int = 6) -> Scatter:
    table = pd.DataFrame(
        {
            "x": np.arange(n) / n,
            "y": np.arange(n) % 5 * 1.0,
            "series": ["a", "b"] * (n // 2),
            "text": [f"item {i}" for i in range(n)],
        }
    )
    return Scatter("s", "Planted scatter", "reading, nats", "shift, logits", table, note=f"n = {n}")


def diagram(blocks: tuple[int, ...] = (5,)) -> BlockDiagram:
    rows = [(block, point, f"␣word{block}{point[0]}", 0.25) for block in blocks for point in POINTS]
    return BlockDiagram("d", "One block", pd.DataFrame(rows, columns=["block", "point", "token", "probability"]))


def tokens(words: list[str], **given) -> TokenStrip:
    table = pd.DataFrame({"token": words, "value": np.linspace(-3, 3, len(words))})
    return TokenStrip(**{"name": "t", "title": "A text", "value_label": "score", "table": table, **given})


EVERY = {"profile": profile(), "grid": grid(), "lens": lens(STRANGE), "scatter": scatter(), "diagram": diagram()}
EVERY["tokens"] = tokens(STRANGE, threshold=1.0, limits=(-2.0, 2.0))


def texts(figure: Figure) -> list[str]:
    drawing = draw(figure)
    drawing.savefig(io.BytesIO(), format="png")
    return [text.get_text() for text in drawing.findobj(Text)]


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_light_and_dark_renditions_differ_and_each_repeats_exactly(figure):
    light, dark = png(figure, theme="light"), png(figure, theme="dark")
    assert light != dark
    assert png(figure, theme="light") == light


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_drawing_leaves_nothing_with_pyplot_and_does_not_change_the_table(figure):
    before = figure.table.copy()
    png(figure)
    assert pyplot.get_fignums() == []
    pd.testing.assert_frame_equal(figure.table, before)


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_the_csv_beside_a_picture_holds_the_tables_numbers_exactly(figure, tmp_path):
    write_csv(figure, tmp_path / "f.csv")
    write_png(figure, tmp_path / "f.png")
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in figure.table.columns:
        expected = figure.table[column]
        if pd.api.types.is_numeric_dtype(expected):
            np.testing.assert_array_equal([float(row[column] or "nan") for row in rows], expected)
        else:
            assert [row[column] for row in rows] == list(expected)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv", "f.png"]


def test_units_n_and_named_reference_lines_stand_in_a_profile():
    shown = texts(profile())
    for expected in ("block", "accuracy, share", "n = 24 queries", "chance 0.25", "patched", "control", "Planted peak"):
        assert expected in shown


def test_a_profile_draws_the_planted_values_and_leaves_a_gap_for_nan():
    axes = draw(profile()).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["patched"], [0.1, 0.6, 0.3])
    np.testing.assert_array_equal(lines["control"], [0.2, np.nan, 0.2])
    assert len(axes.collections) == 2, "one interval band per series"


def test_a_profile_is_sorted_along_x_whatever_the_order_of_its_rows():
    shuffled = profile(table=profile().table.sample(frac=1, random_state=1))
    line = next(line for line in draw(shuffled).axes[0].lines if line.get_label() == "patched")
    np.testing.assert_array_equal(line.get_ydata(), [0.1, 0.6, 0.3])


def test_a_profile_over_labels_keeps_their_order_of_appearance():
    table = pd.DataFrame({"x": ["late", "early", "mid"], "value": [1.0, 2.0, 3.0], "series": "a"})
    axes = draw(profile(table=table)).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["late", "early", "mid"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 2, 3])


def test_no_two_of_28_series_look_alike():
    for theme in THEMES.values():
        assert len({series_style(i, theme) for i in range(28)}) == 28
        assert len({(series_style(i, theme).marker, series_style(i, theme).line) for i in range(7)}) == 7


def test_a_grid_keeps_the_order_of_first_appearance_with_the_first_row_on_top():
    drawing = draw(grid())
    axes = drawing.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2", "0", "1"]
    low, high = axes.get_ylim()
    assert low > high, "the y axis runs downwards"
    planted = np.array([[0.0, 1.0], [0.5, np.nan], [0.25, 0.75]])
    np.testing.assert_array_equal(np.ma.filled(axes.collections[0].get_array(), np.nan), planted)


def test_a_cell_without_a_value_is_explained_and_a_full_grid_says_nothing():
    assert any("Hatched: no value" in text for text in texts(grid()))
    assert not any("Hatched" in text for text in texts(grid(table=grid().table.fillna(0.5))))


def test_two_values_for_one_cell_are_refused_by_name():
    twice = pd.concat([grid().table, grid().table.head(1)])
    with pytest.raises(InternalError, match="attn_out"):
        draw(grid(table=twice))


def test_diverging_colours_are_symmetric_about_their_centre():
    centred = grid(table=pd.DataFrame({"x": [0, 1, 2], "y": 0, "value": [-1.0, 0.0, 4.0]}), centre=0.0)
    assert value_limits(centred) == (-4, 4)
    scale = colour_scale(centred, THEMES["light"])
    below, middle, above = (to_rgb(scale.background(value)) for value in (-4.0, 0.0, 4.0))
    assert below[2] > below[0], "blue below"
    assert above[0] > above[2], "red above"
    assert max(middle) - min(middle) < 0.03, "no hue at the centre"


def test_limits_fix_the_colours_so_that_two_grids_compare():
    assert value_limits(grid()) == (0, 1)
    assert value_limits(grid(limits=(0.0, 2.0))) == (0, 2)


@pytest.mark.parametrize("values", [[np.nan, np.nan], [0.5, 0.5], [np.inf, 1.0], []])
def test_a_grid_of_missing_equal_or_infinite_values_is_drawn(values):
    low, high = value_limits(grid(table=pd.DataFrame({"x": range(len(values)), "y": 0, "value": values}, dtype=float)))
    assert math.isfinite(low)
    assert high > low
    if values:
        png(grid(table=pd.DataFrame({"x": range(len(values)), "y": 0, "value": values})))


@pytest.mark.parametrize("figure", EVERY.values(), ids=EVERY)
def test_a_figure_without_rows_says_so(figure):
    assert "no values" in texts(dataclasses.replace(figure, table=figure.table.head(0)))
    assert "no values" not in texts(figure)


def luminance(colour: str) -> float:
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


@pytest.mark.parametrize("centre", [None, 0.5])
@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_on_every_cell_colour_has_a_contrast_of_at_least_four_and_a_half(theme, centre):
    scale = colour_scale(grid(centre=centre), theme)
    for value in np.linspace(0, 1, 101):
        pair = sorted((luminance(scale.background(value)), luminance(scale.ink(value))))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


def test_characters_that_the_font_lacks_are_escaped_and_others_are_kept():
    assert drawable("中") == "\\u4e2d"
    assert drawable("🧠") == "\\U0001f9e0"
    assert drawable("␣Berlin é $x$") == "␣Berlin é $x$"
    assert drawable("a\x1b\nb") == "a\\x1b\\nb"


def test_a_30_by_4_lens_grid_of_strange_tokens_is_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = texts(lens(STRANGE))
    for expected in ("␣Berlin", "\\u4e2d\\u6587", "$x$", "<script>", "\\x1b[31m", "a\\nb"):
        assert expected in shown


def test_a_dollar_sign_is_never_read_as_a_formula():
    drawing = draw(lens(["$x$", "$\\bad{$"]))
    assert not any(text.get_parse_math() for text in drawing.findobj(Text) if "$" in text.get_text())


def test_many_labels_are_thinned():
    table = pd.DataFrame(
        [(f"token {x}", y, 1.0 * x) for y in range(200) for x in range(120)], columns=["x", "y", "value"]
    )
    axes = draw(grid(table=table)).axes[0]
    assert 10 < len(axes.get_xticklabels()) < 120
    assert 10 < len(axes.get_yticklabels()) < 200


def test_a_scatter_counts_each_series_and_names_its_points():
    shown = texts(scatter())
    for expected in ("a (n = 3)", "b (n = 3)", "item 0", "item 5", "reading, nats", "shift, logits"):
        assert expected in shown


def test_a_crowded_scatter_names_points_only_where_there_is_room():
    drawn = draw(scatter(100))
    names = [text for text in drawn.findobj(Text) if text.get_text().startswith("item ")]
    assert 5 <= len(names) <= 25
    places = [name.get_window_extent() for name in names]
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))
    assert any("Named where there is room" in text for text in texts(scatter(100)))


def test_a_diagram_shows_every_point_with_its_token_and_probability():
    shown = texts(diagram())
    assert "block 5" in shown
    for point in POINTS:
        assert point in shown
        assert f"␣word5{point[0]}" in shown
    assert shown.count("0.25") == 4


def test_a_diagram_of_many_blocks_shows_four_and_says_so():
    drawing = draw(diagram(tuple(range(30))))
    assert [axes.get_title(loc="left") for axes in drawing.axes] == ["block 0", "block 10", "block 19", "block 29"]
    assert any("4 of 30 blocks shown" in text.get_text() for text in drawing.findobj(Text))


def test_a_point_that_a_family_lacks_is_a_dash_in_the_diagram():
    table = diagram().table
    assert "–" in texts(BlockDiagram("d", "One block", table[table["point"] != "resid_mid"]))
