"""`rheostat task-vector`: the vectors are those of Python, and steering puts them in."""

import json
from pathlib import Path

import pytest

import rheostat as rh
from tests.cli.conftest import Type
from tests.cli.test_bad_input import refused


@pytest.fixture
def sounds(type_in: Type) -> str:
    """Write pairs of the tiny model's own words."""
    starts = [" The", " capital", " of", " France", " Germany", " is"]
    words = [" ".join(pair).split() for pair in zip(starts, starts[1:] + starts[:1], strict=True)]
    lines = [f"{question}{number},{answer}" for number in range(4) for question, answer in words]
    Path("sounds.csv").write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    return "sounds.csv"


def test_the_file_holds_the_vectors_of_python_and_steers(type_in: Type, tiny: str, sounds: str) -> None:
    asked = ("--k", "3", "--sets", "2", "--seed", "1", "--model", tiny)
    typed = type_in("task-vector", sounds, *asked, "--out", "v.safetensors", "--json")
    assert (typed.code, typed.err) == (0, "wrote v.safetensors\n")
    found = rh.task_vectors(rh.load(tiny), rh.read_pair_task(sounds), k=3, n_sets=2, seed=1)
    data = json.loads(typed.out)
    assert data["concept"] == "sounds"
    assert [row["site"] for row in data["vectors"]] == list(found)
    loaded = rh.Directions.load("v.safetensors")
    assert all(loaded[site].vector.equal(one.vector) for site, one in found.items())
    put = ("--direction", "v.safetensors", "--block", "1", "--operator", "replace", "--positions", "last")
    steered = type_in("steer", "The capital", *put, "--model", tiny, "--max-new-tokens", "2", "--json")
    assert steered.code == 0 and "replace at blocks.1.resid_post" in steered.out
    assert "task vectors" in type_in("task-vector", sounds, *asked).out


def test_what_is_refused(type_in: Type, tiny: str, sounds: str) -> None:
    assert "country-capital" in refused(type_in, "task-vector", "country-capitol", "--model", tiny)
    assert "arrow, example" in refused(type_in, "task-vector", sounds, "--format", "arow", "--model", tiny)
    assert "too few" in refused(type_in, "task-vector", sounds, "--k", "20", "--model", tiny)
    assert ".safetensors" in refused(type_in, "task-vector", sounds, "--out", "v.json", "--model", tiny)
    assert "cannot be read" in refused(type_in, "task-vector", "missing.csv", "--model", tiny)
