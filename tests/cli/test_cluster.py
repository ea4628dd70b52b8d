"""`rheostat cluster`: the table, the files and what is refused, on a toy model and a user's texts."""

import inspect
import json
from pathlib import Path
from typing import get_args

import pytest

import rheostat as rh
from rheostat.cli import cluster
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.methods.registry import METHODS
from tests.cli.conftest import Type
from tests.cli.test_bad_input import refused

TOPICS = {"rome": (" Paris", " France"), "film": (" Berlin", " Germany")}


@pytest.fixture
def texts(type_in: Type) -> str:
    """Write a folder of two topics, each with words of its own."""
    for topic, (first, second) in TOPICS.items():
        Path("texts", topic).mkdir(parents=True)
        for number in range(12):
            plain = " ".join(" is of"[3 * int(bit) :][:3].strip() for bit in f"{number:06b}")
            text = f"The {plain}{first} is. The {plain}{second} of."
            Path("texts", topic, f"{number}.txt").write_text(text, encoding="utf-8")
    return "texts"


def test_the_cluster_is_that_of_the_table_and_of_the_file(type_in: Type, tiny: str, texts: str):
    asked = ("cluster", tiny, "--topic", "film", "--texts", texts, "--prompts", "4", "--share", "0.2")
    typed = type_in(*asked, "--out", "c.json", "--png", "c.png", "--html", "c.html", "--json")
    assert typed.code == 0, typed.err
    assert typed.err.splitlines() == ["wrote c.json", "wrote c.png", "wrote c.html"]
    assert "share: 0.2" in Path("c.html").read_text(encoding="utf-8")
    data, saved = json.loads(typed.out), Cluster.load("c.json")
    saved.check(rh.load(tiny))
    assert (data["topic"], data["method"], data["kind"]) == ("film", "attribution", "neurons")
    assert {(row["block"], row["unit"]) for row in data["units"]} == {
        (block, unit) for block, units in saved.units.items() for unit in units
    }
    again = type_in(*asked, "--against", "c.json")
    assert again.out.splitlines()[-1] == "shared with film (attribution): Jaccard index 1.000"
    other = type_in(*asked, "--method", "random", "--seed", "3", "--against", "c.json", "--json")
    assert json.loads(other.out)["overlap"][0]["jaccard"] < 1


def test_the_choices_of_the_command_are_the_rankings():
    (choices, _) = get_args(inspect.get_annotations(cluster.command)["method"])
    assert set(get_args(choices)) == {*METHODS, "random"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--topic", "flim"], "BadArgument: texts has no topic 'flim'. Closest: film."),
        (["--topic", "film", "--share", "0"], "BadArgument: share=0: above 0, at most 1."),
        (["--topic", "film", "--share", "1.5"], "BadArgument: share=1.5: above 0, at most 1."),
        (["--topic", "film", "--method", "attributoin"], "'--method'"),
        (["--topic", "film", "--kind", "neuron"], "neurons"),
        (["--topic", "film", "--kind", "heads"], "BadArgument: units of heads are no single numbers"),
        (["--topic", "film", "--out", "c.bin"], "--out c.bin: give a name that ends in .json"),
        (["--topic", "film", "--prompts", "0"], "'--prompts'"),
        (["--topic", "film", "--against", "gone.json"], "FileNotUsable: gone.json cannot be read as a cluster"),
        (
            ["--topic", "film", "--against", "other.json"],
            "ClusterNotUsable: the cluster film (m) was made on elsewhere",
        ),
        (["--topic", "film", "--against", "wide.json"], "ClusterNotUsable: the cluster film (m) names unit 999"),
        (["--topic", "film", "--texts", "short"], "TooLittleText: the topic"),
    ],
)
def test_what_is_refused(type_in: Type, tiny: str, texts: str, arguments: list[str], said: str):
    for topic in TOPICS:
        Path("short", topic).mkdir(parents=True)
        Path("short", topic, "0.txt").write_text(f"One sentence of {topic} only.", encoding="utf-8")
    weights = rh.load(tiny).weight_hash
    Cluster("neurons", {0: (1,)}, "m", "film", "elsewhere", "0" * 64).save("other.json")
    Cluster("neurons", {0: (999,)}, "m", "film", "tiny", weights).save("wide.json")
    given = arguments if "--texts" in arguments else [*arguments, "--texts", texts]
    assert said in refused(type_in, "cluster", tiny, *given)


@pytest.mark.slow
def test_the_example_finds_units_of_sport(type_in: Type):
    _, command, *arguments = cluster.EXAMPLE.removeprefix("Example: ").split()
    typed = type_in(command, *arguments)
    assert typed.code == 0, typed.err
    found = Cluster.load("sports.json")
    assert found.n_units == 30 * 31 and Path("sports.html").is_file()
