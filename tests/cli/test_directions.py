"""`rheostat directions`: the table, the files and the pictures, on a toy model."""

import inspect
import json
from pathlib import Path
from typing import get_args

import pytest

import rheostat as rh
from rheostat.cli import directions
from rheostat.directions.methods.registry import METHODS
from tests.cli.conftest import Type
from tests.cli.test_bad_input import refused

COUNTRIES = (" France", " Germany")


@pytest.fixture
def pairs(type_in: Type) -> str:
    """Write pairs that say Berlin or Paris, in ten groups."""
    starts = ["The", "The capital", "The capital of", " is", " of", " capital", "The is", "The of", " is of", " of is"]
    lines = [
        {"positive": f"{start}{country} Paris", "negative": f"{start}{country} Berlin", "group": number}
        for number, start in enumerate(starts)
        for country in COUNTRIES
    ]
    Path("city.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return "city.jsonl"


def test_the_rows_and_the_files_are_those_of_python(type_in: Type, tiny: str, pairs: str):
    files = ("--out", "a.safetensors", "--gguf", "a.gguf", "--png", "a.png", "--html", "a.html")
    typed = type_in("directions", pairs, *files, "--json", "--seed", "3", "--model", tiny)
    assert typed.code == 0
    wrote = ["wrote a.safetensors", "wrote a.gguf without blocks.0.resid_post, which llama.cpp has no place for"]
    assert typed.err.splitlines() == [*wrote, "wrote a.png", "wrote a.html"]
    found = rh.load(tiny).fit_directions(rh.read_pairs(pairs), concept="city", seed=3)
    data = json.loads(typed.out)
    assert (data["concept"], data["best"]) == ("city", found.best.site)
    for column in ("site", "block", "accuracy", "shuffled", "random", "effect_size", "length"):
        assert [row[column] for row in data["directions"]] == found.table[column].tolist()
    loaded = rh.Directions.load("a.safetensors")
    assert all(loaded[site].vector.equal(one.vector) for site, one in found.items())
    assert list(rh.Directions.from_gguf("a.gguf")) == ["blocks.1.resid_post"]
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert "telling the classes apart by block" in Path("a.html").read_text(encoding="utf-8")


def test_the_table_has_a_line_per_block_and_names_the_best(type_in: Type, tiny: str, pairs: str):
    typed = type_in("directions", pairs, "--method", "pca", "--model", tiny)
    assert (typed.code, typed.err) == (0, "")
    assert all(f"blocks.{block}.resid_post" in typed.out for block in range(2))
    assert "city: pca" in typed.out and "shuffled" in typed.out
    assert "best by other held-out pairs: blocks." in typed.out.splitlines()[-1]
    assert "accuracy" not in type_in("directions", pairs, "--held-out", "0", "--model", tiny).out


def test_the_choices_of_the_command_are_the_methods():
    (choices, _) = get_args(inspect.get_annotations(directions.command)["method"])
    assert set(get_args(choices)) == set(METHODS)


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, [], "FileNotUsable: city.jsonl cannot be read as pairs"),
        ("", [], "BadArgument: city.jsonl: no pairs were given."),
        ('{"positive": "a"', [], "FileNotUsable: city.jsonl, line 1 is no JSON"),
        ('["a", "b"]\n["a"]', [], "BadArgument: city.jsonl: pair 1 is ['a']."),
        ('["a", "a"]', [], "pair 0: both texts are 'a'"),
        ('["a", "b"]', [], "DirectionNotUsable: 1 group of texts cannot be divided"),
        ('["a", "b"]', ["--out", "a.bin"], "--out a.bin: give a name that ends in .safetensors"),
        ('["a", "b"]', ["--held-out", "1"], "'--held-out'"),
        ('["a", "b"]', ["--method", "pcaa"], "'--method'"),
        ('["a", "b"]', ["--held-out", "0", "--png", "a.png"], "BadArgument: --png and --html show held-out accuracy"),
    ],
)
def test_what_is_refused(type_in: Type, tiny: str, content: str | None, arguments: list[str], said: str):
    if content is not None:
        Path("city.jsonl").write_text(content, encoding="utf-8")
    assert said in refused(type_in, "directions", "city.jsonl", *arguments, "--model", tiny)


@pytest.mark.slow
def test_the_example_finds_the_truth_of_capitals(type_in: Type):
    capitals = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}
    capitals |= {"Russia": "Moscow", "Egypt": "Cairo", "Greece": "Athens", "Austria": "Vienna", "Poland": "Warsaw"}
    names = list(capitals)
    says = "The capital of {} is {}."
    lines = [
        {
            "positive": says.format(name, capitals[name]),
            "negative": says.format(name, capitals[names[number - shift]]),
            "group": name,
        }
        for number, name in enumerate(names)
        for shift in (2, 3)
    ]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    _, command, *arguments = directions.EXAMPLE.removeprefix("Example: ").split()
    assert type_in(command, *arguments).code == 0
    figures = rh.Directions.load("truth.safetensors").best_figures
    assert figures["accuracy"] >= 0.75 and figures["effect_size"] > 1
    assert Path("truth.html").is_file()
