"""`rheostat runs`: stores are listed, shown, exported and cleared; a damaged one is named and hides no other."""

import json
import math
import shlex
from pathlib import Path

import pandas as pd
import pytest

from rheostat.cli import runs
from rheostat.store.store import Store
from tests.cli.conftest import Type
from tests.store.conftest import expected
from tests.store.planted import N, numbers, wanted

STORE = Path("runs/store.sqlite")


@pytest.fixture
def stored(type_in: Type) -> Type:
    """Return `type_in`, in a folder whose store holds a finished run and one with 30 results."""
    with Store(STORE) as store:
        store.begin("patch", {"site": "resid_pre"}, wanted(), labels={"by": "me"})
        store.commit({one.key: pair for one, pair in zip(wanted(), numbers(range(N)), strict=True)})
        store.begin("trace", {}, [*wanted(30), *wanted(2 * N)[N:]])
    return type_in


def test_the_list_says_how_far_each_run_is(stored: Type):
    typed = stored("runs", "list", "--json")
    rows = json.loads(typed.out)
    assert (typed.code, typed.err) == (0, "")
    assert [(row["run"], row["name"], row["done"], row["wanted"], row["labels"]) for row in rows] == [
        (1, "patch", N, N, {"by": "me"}),
        (2, "trace", 30, N + 30, {}),
    ]
    table = stored("runs", "list").out
    assert f"{N} / {N}" in table and f"30 / {N + 30}" in table and "by=me" in table
    assert sorted(path.name for path in STORE.parent.iterdir()) == [".store.sqlite.lock", "store.sqlite"]


def test_a_damaged_store_is_named_and_the_others_are_listed(stored: Type):
    Path("runs/bad.sqlite").write_bytes(b"x" * 5000)
    typed = stored("runs", "list", "--json")
    assert typed.code == 2
    assert [row["name"] for row in json.loads(typed.out)] == ["patch", "trace"]
    (line,) = typed.err.splitlines()
    assert line.startswith("FileNotUsable: the store runs/bad.sqlite is damaged (file is not a database).")
    typed = stored("runs", "list", "runs/store.sqlite", "runs/store.sqlite", "--json")
    assert typed.code == 0 and len(json.loads(typed.out)) == 4


def test_a_run_is_shown_with_the_rows_asked_for(stored: Type):
    typed = stored("runs", "show", "1", "--rows", "3")
    assert typed.code == 0
    assert typed.out.splitlines()[1] == "name: patch" and "arguments: {'site': 'resid_pre'}" in typed.out
    assert typed.out.count("␣w") == 3 and typed.err.startswith(f"{N - 3} more rows;")
    shown = json.loads(stored("runs", "show", "1", "--rows", "0", "--json").out)
    assert shown["arguments"] == {"site": "resid_pre"}
    assert pd.DataFrame(shown["table"]).equals(expected())


@pytest.mark.parametrize("name", ["out/patch.parquet", "patch.csv"])
def test_a_run_is_exported(stored: Type, name: str):
    typed = stored("runs", "export", "1", name)
    assert (typed.code, typed.out, typed.err) == (0, "", f"wrote {name}\n")
    read = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    pd.testing.assert_frame_equal(read, expected())
    assert stored("runs", "export", "1", name).err.startswith(f"WouldOverwrite: {name} exists.")
    assert stored("runs", "export", "2", name, "--overwrite").err == (
        f"wrote {name}\nrun 2 is not finished: 30 of {N + 30} results are there\n"
    )


def test_a_run_is_removed_and_what_another_asks_for_stays(stored: Type):
    typed = stored("runs", "remove", "1")
    assert (typed.code, typed.out) == (0, f"removed run 1 and {N - 30} results that no other run asks for\n")
    assert json.loads(stored("runs", "remove", "2", "--json").out) == {"run": 2, "results": 30}
    assert json.loads(stored("runs", "list", "--json").out) == []


def test_a_value_that_is_no_number_is_null_in_json(stored: Type):
    with Store("other.sqlite") as store:
        store.begin("sweep", {}, wanted(1))
        store.commit({wanted(1)[0].key: (math.nan,)})
    shown = json.loads(stored("runs", "show", "1", "--store", "other.sqlite", "--json").out)
    assert shown["table"][0]["value"] is None


@pytest.mark.parametrize("verb", runs.EXAMPLES)
def test_the_examples_run(stored: Type, verb: str):
    typed = stored(*shlex.split(runs.EXAMPLES[verb].removeprefix("Example: "))[1:])
    assert typed.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "gone"], "FileNotUsable: there is no store gone."),
        (["list", "."], "FileNotUsable: there is no store in ."),
        (["show", "3"], "RunNotFound: no run 3 in runs/store.sqlite. Runs there: 1, 2."),
        (["show", "one"], "Invalid value for 'run'"),
        (["show", "1", "--rows", "-1"], "'--rows'"),
        (["show", "1", "--store", "gone.sqlite"], "FileNotUsable: there is no store gone.sqlite."),
        (["export", "1", "out.xlsx"], "ends in .parquet or .csv"),
        (["export", "3", "out.csv"], "RunNotFound"),
        (["export", "1", "/proc/out.csv"], "FileNotUsable: /proc/out.csv cannot be written"),
        (["remove", "3"], "RunNotFound"),
        (["remove", "1", "--store", "gone.sqlite"], "FileNotUsable: there is no store gone.sqlite."),
        (["remoev", "1"], "Did you mean 'remove'?"),
        ([], "Missing command. See: rheostat runs --help"),
    ],
)
def test_what_is_typed_wrong_is_one_line(stored: Type, arguments: list[str], said: str):
    before = sorted(Path().rglob("*"))
    typed = stored("runs", *arguments)
    assert (typed.code, typed.out, len(typed.err.splitlines())) == (2, "", 1)
    assert said in typed.err
    assert sorted(Path().rglob("*")) == before
