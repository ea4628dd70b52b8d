"""`rheostat read`: the same scores as the library's, as tokens, JSON, pictures and a page."""

import json
from pathlib import Path

import pandas as pd
import pytest

import rheostat as rh
from tests.cli.conftest import Type
from tests.directions.planted import between

TEXT = "The capital of Germany is"


@pytest.fixture
def file(tiny: str, tmp_path: Path) -> str:
    """Directions at both blocks of the tiny model, from one text to another."""
    model = rh.load(tiny)
    sites = [f"blocks.{block}.resid_post" for block in range(model.n_blocks)]
    more, less = (model.encode(text) for text in (TEXT, "The capital of France is"))
    directions = rh.Directions({site: between(model, site, more, less[:-1]) for site in sites})
    directions.save(tmp_path / "c.safetensors")
    return str(tmp_path / "c.safetensors")


def test_json_holds_the_scores_of_the_library(type_in: Type, tiny: str, file: str):
    typed = type_in("read", TEXT, "--direction", file, "--json", "--model", tiny)
    assert (typed.code, typed.err) == (0, "")
    rows = pd.DataFrame(json.loads(typed.out))
    expected = rh.read_concept(rh.load(tiny), rh.Directions.load(file), TEXT).table
    assert rows["site"].tolist() == expected["site"].tolist()
    assert rows["score"].tolist() == pytest.approx(expected["score"].tolist(), rel=1e-6)
    last = rows[rows["position"] == rows["position"].max()]
    assert last["score"].tolist() == pytest.approx([1.0, 1.0], abs=1e-4), "the planted text"


def test_rows_are_those_of_the_blocks_and_say_what_lies_above_the_threshold(type_in: Type, tiny: str, file: str):
    asked = ("read", TEXT, "--direction", file, "--model", tiny)
    every = json.loads(type_in(*asked, "--json").out)
    typed = type_in(*asked, "--json", "--csv", "some.csv", "--block", "1", "--threshold", "0.5")
    expected = [{**row, "above": row["score"] > 0.5} for row in every if row["block"] == 1]
    assert json.loads(typed.out) == expected
    assert {row["above"] for row in expected} == {True, False}
    assert pd.read_csv("some.csv")["above"].tolist() == [row["above"] for row in expected]


def test_tokens_pictures_and_page_are_written(type_in: Type, tiny: str, file: str):
    files = ("--png", "read.png", "--csv", "read.csv", "--html", "read.html")
    typed = type_in("read", TEXT, "--direction", file, "--block", "1", "--threshold", "0.9", *files, "--model", tiny)
    assert typed.code == 0, typed.err
    assert "+1.00▲" in typed.out and "block 1" in typed.out
    page = Path("read.html").read_text(encoding="utf-8")
    assert 'class="token framed"' in page and "mean of the texts" in page
    assert len(pd.read_csv("read.csv")) == len(rh.load(tiny).encode(TEXT))
    assert all(Path(name).read_bytes().startswith(b"\x89PNG") for name in ("read.png", "read-map.png"))
    again = type_in("read", TEXT, "--direction", file, *files, "--model", tiny)
    assert (again.code, again.err.split(":")[0]) == (2, "WouldOverwrite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--block", "x"), "BadArgument: --block x: a block such as 18"),
        (("--block", "2:1"), "BadArgument: --block 2:1"),
        (("--block", "7"), "BadArgument: blocks [7] were not read. Read: 0, 1."),
        (("--direction", "gone.safetensors"), "FileNotUsable: "),
        (("--html", "page.pdf"), "BadArgument: --html page.pdf"),
    ],
)
def test_bad_input_is_one_clear_line(type_in: Type, tiny: str, file: str, options: tuple[str, ...], message: str):
    given = () if "--direction" in options else ("--direction", file)
    typed = type_in("read", TEXT, *given, *options, "--model", tiny)
    assert (typed.code, typed.out) == (2, "")
    assert typed.err.startswith(message) and typed.err.count("\n") == 1
