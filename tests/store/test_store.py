"""A store keeps numbers exactly, computes what is missing and nothing else, and says what it holds."""

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rheostat.base.errors import BadArgument, FileNotUsable, RunNotFound
from rheostat.store.fill import fill
from rheostat.store.key import result_key, versions_that_matter
from rheostat.store.store import Store, Wanted, store_files
from rheostat.store.table import export_table, run_table
from tests.store.conftest import expected
from tests.store.planted import N, numbers, wanted

CONTENT = {
    "weights": "ab",
    "plan": "cd",
    "prompt": (1, 2, 3),
    "metric": "loss(tokens=(1, 2))",
    "dtype": "float32",
    "versions": {"torch": "2", "rheostat": "1"},
    "settings": {"attention": "sdpa"},
}


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "deep" / "store.sqlite") as opened:
        yield opened


# --- keys -------------------------------------------------------------------------------------------------------------


def test_equal_content_has_one_key_and_everything_in_it_counts():
    key = result_key(**CONTENT)
    assert len(key) == 64 and key == result_key(**{**CONTENT, "prompt": [1, 2, 3]})
    assert key == result_key(**{**CONTENT, "versions": {"rheostat": "1", "torch": "2"}})
    changes = {
        "weights": "ac",
        "plan": "ab",
        "prompt": (1, 23),
        "metric": "loss(tokens=(1,))",
        "dtype": "float64",
        "versions": {"torch": "2", "rheostat": "2"},
        "settings": None,
    }
    keys = {result_key(**{**CONTENT, name: value}) for name, value in changes.items()}
    assert len(keys | {key}) == 1 + len(CONTENT)


def test_the_versions_are_those_of_the_packages_that_compute():
    assert set(versions_that_matter()) == {"rheostat", "torch", "transformers"}


def test_a_setting_that_json_cannot_hold_is_refused():
    with pytest.raises(BadArgument, match="a store keeps texts"):
        result_key(**{**CONTENT, "settings": {"factor": math.nan}})


# --- results ----------------------------------------------------------------------------------------------------------


def test_numbers_come_back_bit_for_bit(store: Store):
    odd = {"a": (0.1, -0.0, 5e-324, 1.7976931348623157e308), "b": (math.inf, -math.inf), "c": (), "d": (math.nan,)}
    store.commit(odd)
    found = store.results(["d", "c", "b", "a", "e"])
    assert found.keys() == odd.keys() and math.isnan(found["d"][0])
    assert all(list(map(float.hex, found[key])) == list(map(float.hex, odd[key])) for key in "abc")


def test_missing_keys_are_returned_in_order_and_once(store: Store):
    store.commit({"b": (1.0,)})
    assert store.missing(["c", "b", "a", "c"]) == ["c", "a"]


def test_what_was_committed_first_is_kept(store: Store):
    assert store.commit({"a": (1.0,)}) == 1
    assert store.commit({"a": (2.0,), "b": (3.0,)}) == 1
    assert store.results(["a", "b"]) == {"a": (1.0,), "b": (3.0,)}


def test_a_chunk_that_cannot_be_written_leaves_nothing(store: Store):
    store.commit({"a": (1.0,)})
    store._database.execute(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON results WHEN NEW.key = 'c' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        store.commit({"b": (1.0,), "c": (2.0,)})
    assert store.results(["a", "b", "c"]) == {"a": (1.0,)}
    store.commit({"b": (1.0,)})  # and the store goes on
    assert store.missing(["a", "b"]) == []


# --- filling ----------------------------------------------------------------------------------------------------------


def test_only_what_is_missing_is_computed(store: Store):
    asked = []

    def compute(places):
        asked.append(list(places))
        return numbers(places)

    store.commit({one.key: (place / 7,) for place, one in enumerate(wanted()) if place % 3 == 0})
    run = store.begin("sweep", {}, wanted())
    assert fill(store, wanted(), compute, chunk_size=7) == N * 2 // 3
    assert sorted(place for chunk in asked for place in chunk) == [place for place in range(N) if place % 3]
    assert max(map(len, asked)) == 7
    assert fill(store, wanted(), compute, chunk_size=7) == 0
    pd.testing.assert_frame_equal(run_table(store, run), expected())


def test_a_key_that_occurs_twice_is_computed_once(store: Store):
    twice = [replace(one, labels={"copy": copy}) for copy in (0, 1) for one in wanted(5)]
    run = store.begin("sweep", {}, twice)
    assert fill(store, twice, numbers, chunk_size=3) == 5
    assert run_table(store, run)["value"].tolist() == [0, 1 / 7, 2 / 7, 3 / 7, 4 / 7] * 2


def test_what_another_process_finished_meanwhile_is_left_alone(store: Store, tmp_path: Path):
    computed = []

    def compute(places):
        computed.extend(places)
        with Store(store.path) as other:
            other.commit({one.key: (-1.0,) for one in wanted(20)})
        return numbers(places)

    fill(store, wanted(20), compute, chunk_size=5)
    assert computed == [0, 1, 2, 3, 4]


def test_an_error_keeps_the_chunks_before_it(store: Store):
    def compute(places):
        if 10 in places:
            raise KeyboardInterrupt
        return numbers(places)

    with pytest.raises(KeyboardInterrupt):
        fill(store, wanted(), compute, chunk_size=4)
    assert len(store.missing(one.key for one in wanted())) == N - 8


def test_a_chunk_of_nothing_and_a_result_too_few_are_refused(store: Store):
    with pytest.raises(BadArgument, match="chunk_size=0"):
        fill(store, wanted(), numbers, chunk_size=0)
    with pytest.raises(BadArgument, match="3 results were computed for 4"):
        fill(store, wanted(), lambda places: numbers(places)[1:], chunk_size=4)
    assert len(store.missing(one.key for one in wanted())) == N


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_says_what_it_was_asked_and_how_far_it_is(store: Store):
    run = store.begin("patch", {"site": "resid_pre", "k": [1, 2]}, wanted(), labels={"by": "me"})
    store.commit({one.key: (0.0,) for one in wanted(30)})
    found = store.run(run)
    assert (found.name, found.arguments, found.labels) == ("patch", {"site": "resid_pre", "k": [1, 2]}, {"by": "me"})
    assert (found.n_wanted, found.n_done, found.started[:2]) == (N, 30, "20")
    assert store.runs() == [found]
    assert len(run_table(store, run)) == 30


def test_the_same_run_goes_on_and_another_one_is_another(store: Store):
    first = store.begin("patch", {"a": 1}, wanted())
    assert store.begin("patch", {"a": 1}, wanted()) == first
    others = [
        store.begin("trace", {"a": 1}, wanted()),
        store.begin("patch", {"a": 2}, wanted()),
        store.begin("patch", {"a": 1}, wanted()[:-1]),
        store.begin("patch", {"a": 1}, wanted(), labels={"b": 1}),
    ]
    assert len({first, *others}) == 5
    assert [run.n_wanted for run in store.runs()] == [N, N, N, N - 1, N]


def test_results_of_several_numbers_have_a_column_each(store: Store):
    run = store.begin("sweep", {}, [Wanted("a", {"block": 0}), Wanted("b", {"block": 1})])
    assert run_table(store, run).empty
    store.commit({"a": (1.0, 2.0), "b": (3.0,)})
    assert run_table(store, run).fillna(-1).to_dict("list") == {
        "block": [0, 1],
        "value_0": [1.0, 3.0],
        "value_1": [2.0, -1],
    }


def test_removing_a_run_keeps_what_another_asks_for(store: Store):
    one, two = store.begin("one", {}, wanted(20)), store.begin("two", {}, wanted()[10:30])
    fill(store, wanted(30), numbers, chunk_size=10)
    assert store.remove(one) == 10
    assert store.missing(one.key for one in wanted(30)) == [one.key for one in wanted(10)]
    assert len(run_table(store, two)) == 20
    with pytest.raises(RunNotFound, match=rf"no run {one} in .*store\.sqlite\. Runs there: {two}\."):
        run_table(store, one)
    assert store.begin("three", {}, []) > two


def test_a_label_named_like_the_values_is_refused(store: Store):
    with pytest.raises(BadArgument, match="the label 'value'"):
        store.begin("sweep", {}, [Wanted("a", {"value": 1})])
    assert store.runs() == []


def test_arguments_that_json_cannot_hold_are_refused(store: Store):
    with pytest.raises(BadArgument, match="a store keeps texts"):
        store.begin("sweep", {"model": object()}, [])


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_an_exported_table_reads_back(tmp_path: Path, suffix: str):
    path = tmp_path / f"table{suffix}"
    export_table(expected(), path)
    read = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    pd.testing.assert_frame_equal(read, expected())


def test_an_export_that_cannot_be_is_refused(tmp_path: Path):
    with pytest.raises(BadArgument, match=r"ends in \.parquet or \.csv"):
        export_table(expected(), tmp_path / "table.xlsx")
    mixed = pd.DataFrame({"position": [1, "last"]})
    with pytest.raises(BadArgument, match="several types"):
        export_table(mixed, tmp_path / "mixed.parquet")
    export_table(mixed, tmp_path / "mixed.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["mixed.csv"]


def test_stores_are_found_in_folders(store: Store, tmp_path: Path):
    assert store_files([store.path.parent]) == [store.path] == store_files([store.path])
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(FileNotUsable, match="there is no store"):
            store_files([place])
