"""The page stands alone, escapes all text, and holds the numbers that it shows."""

import base64
import csv
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from rheostat.base.errors import InternalError
from rheostat.base.shapes import Grid, Profile
from rheostat.report.grid_html import fits_html, grid_html
from rheostat.report.page import describe, page, record_page
from rheostat.studies.record import Measurement, Record, Section, Verdict

EVIL = '<script>alert("x")</script>'


class Seen(HTMLParser):
    """All tags of a page with their attributes, and all its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(str(html))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def lens(n_blocks: int = 3, n_points: int = 2) -> Grid:
    rows = [
        (f"point{j}", i, 0.1 * (i + j), EVIL if (i, j) == (0, 0) else f"␣t{i}{j}")
        for i in range(n_blocks)
        for j in range(n_points)
    ]
    table = pd.DataFrame(rows, columns=["x", "y", "value", "text"])
    return Grid("lens", "The lens", "point", "block", "probability", table, note="n = 1 prompt")


def profile() -> Profile:
    table = pd.DataFrame({"x": [0, 1], "value": [0.123456789012345, np.nan], "series": EVIL})
    return Profile("profile", "The profile", "block", "accuracy, share", table, note="n = 24")


def record(**given) -> Record:
    measurement = Measurement("smol", "accuracy, share", 0.75, 0.25, 0.375, 0.625, 24, "prompts", "random vector")
    fields = {
        "study": "decoding",
        "title": f"Reading {EVIL}",
        "source": "a post",
        "arguments": {"prompts": 24, "text": EVIL},
        "seed": 7,
        "models": ({"name": "smol", "weight_hash": "abc123"},),
        "versions": {"torch": "2.15"},
        "started": "2025-01-01T00:00:00Z",
        "seconds": 200.0,
        "warnings": ("two prompts left out",),
        "verdicts": (Verdict("decode-6", f"It steers {EVIL}", "partly", "On one model only.", (measurement,)),),
        "sections": (Section("What is read", f"One {EVIL}.\n\nTwo.", ("lens", "profile"), ("scores",)),),
        "tables": {"scores": pd.DataFrame({"token": [EVIL, "b"], "value": [0.5, np.nan]})},
        "figures": {"lens": lens(), "profile": profile()},
    }
    return Record(**{**fields, **given})


def embedded(link: str) -> bytes:
    return base64.b64decode(link.split(";base64,", 1)[1])


def test_the_page_loads_nothing_and_runs_nothing():
    html = record_page(record())
    seen = Seen(html)
    assert "<script" not in html
    assert not re.search(r"https?://", html)
    assert not re.search(r"@import|url\(", html)
    for _, attributes in seen.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset"):
            link = attributes.get(name)
            assert link is None or link.startswith(("data:", "#"))
    policy = next(meta["content"] for meta in seen.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_hostile_text_appears_as_text_wherever_it_was_put():
    seen = Seen(record_page(record()))
    assert seen.text.count(EVIL) >= 6, "title twice, statement, paragraph, cell, table, argument"


def test_light_and_dark_pictures_differ_and_every_picture_is_described():
    seen = Seen(record_page(record()))
    dark, light = seen.all("source"), seen.all("img")
    assert len(dark) == len(light) == 1, "the lens is a table, the profile a picture"
    assert dark[0]["media"] == "(prefers-color-scheme: dark)"
    assert embedded(dark[0]["srcset"]).startswith(b"\x89PNG")
    assert embedded(dark[0]["srcset"]) != embedded(light[0]["src"])
    assert "The profile" in light[0]["alt"]
    assert "0.123" in light[0]["alt"]


def test_the_csv_links_hold_all_numbers_exactly():
    links = [a for a in Seen(record_page(record())).all("a") if a.get("download")]
    assert [a["download"] for a in links] == ["lens.csv", "profile.csv", "scores.csv"]
    rows = list(csv.DictReader(embedded(links[1]["href"]).decode("utf-8").splitlines()))
    assert [row["value"] for row in rows] == ["0.123456789012345", ""]
    assert rows[0]["series"] == EVIL


def test_a_verdict_shows_words_a_sign_effect_control_interval_and_n():
    text = Seen(record_page(record())).text
    for expected in (
        "◐",
        "partly reproduced",
        "decode-6",
        "On one model only.",
        "0.75",
        "0.25",
        "+0.5 [+0.375, +0.625]",
        "24 prompts",
        "random vector",
    ):
        assert expected in text


def test_facts_stand_in_a_part_that_opens_on_demand_with_warnings_counted():
    html = record_page(record())
    text = Seen(html[html.index("<details>") : html.index("</details>")]).text
    for expected in ("1 warning)", "two prompts left out", "abc123", "torch: 2.15", "3 min 20 s", "7", "2025-01-01"):
        assert expected in text


def test_headings_go_down_by_one_and_there_is_one_h1():
    levels = [int(tag[1]) for tag, _ in Seen(record_page(record())).tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_every_link_inside_the_page_has_a_target():
    seen = Seen(record_page(record()))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in seen.all("a") if a["href"].startswith("#")} <= set(ids)


def test_number_columns_are_aligned_and_nan_is_a_dash():
    html = page("t", tables={"scores": pd.DataFrame({"word": ["a"], "value": [np.nan]})})
    assert '<th scope="col">word</th><th scope="col" class="number">value</th>' in html
    assert '<td class="number">–</td>' in html
    assert "nan" not in Seen(html).text.lower()


def test_figures_and_tables_that_no_section_names_are_shown_too():
    html = record_page(record(sections=()))
    assert 'id="figure-lens"' in html
    assert 'id="figure-profile"' in html
    assert 'id="table-scores"' in html


def test_a_section_that_names_an_absent_figure_is_refused():
    with pytest.raises(InternalError, match="absent"):
        page("t", sections=[Section("h", "", figures=("absent",))])


def test_figures_and_tables_without_rows_have_their_place_on_the_page():
    figures = {"lens": lens(0), "profile": Profile("p", "The profile", "x", "y", profile().table.head(0))}
    seen = Seen(page("t", figures=figures, tables={"none": pd.DataFrame()}))
    assert seen.text.count("Numbers as CSV (0 rows)") == 3


def test_a_long_table_says_how_much_of_it_is_shown():
    html = page("t", tables={"long": pd.DataFrame({"i": range(1000)})})
    assert "The first 200 of 1000 rows are shown." in html
    assert html.count("<tr>") == 201


def test_numbers_too_large_to_embed_are_announced(monkeypatch):
    monkeypatch.setattr("rheostat.report.page.LARGEST_CSV", 10)
    html = page("t", tables={"long": pd.DataFrame({"i": range(1000)})})
    assert "The 1000 rows of numbers are too many to embed here." in html
    assert "download=" not in html


def test_a_small_grid_with_text_is_a_table_of_selectable_tokens():
    html = grid_html(lens())
    seen = Seen(html)
    assert EVIL in seen.text
    assert "␣t21" in seen.text
    assert "0.3" in seen.text
    styles = [td["style"] for td in seen.all("td")]
    assert len(styles) == 6
    assert len(set(styles)) == 4, "four different values, four colours"
    assert all(re.fullmatch(r"(--(l|li|d|di):#[0-9a-f]{6};?){4}", style) for style in styles)


def test_a_cell_without_a_value_has_no_colour():
    table = lens().table.assign(value=[np.nan, *[0.5] * 5])
    seen = Seen(grid_html(Grid("g", "t", "x", "y", "v", table)))
    assert [td.get("class") for td in seen.all("td")].count("empty") == 1


@pytest.mark.parametrize(("blocks", "points", "fits"), [(40, 12, True), (41, 1, False), (1, 13, False)])
def test_only_grids_up_to_40_by_12_are_tables(blocks, points, fits):
    assert fits_html(lens(blocks, points)) is fits


def test_a_grid_without_text_is_a_picture():
    bare = Grid("g", "t", "x", "y", "v", lens().table.drop(columns="text"))
    assert not fits_html(bare)
    assert len(Seen(page("t", figures={"g": bare})).all("img")) == 1
    assert "0 to 0.3" in describe(bare)


def test_control_and_direction_characters_do_not_reach_the_page():
    table = pd.DataFrame({"x": ["a"], "y": [0], "value": [0.5], "text": ["\x1b[2J\u202e"]})
    html = grid_html(Grid("g", "t", "x", "y", "v", table))
    assert "\\x1b[2J\\u202e" in html
    assert "\x1b" not in html
    assert "\u202e" not in html
