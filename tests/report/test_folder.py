"""A record comes back from its folder as it was; what is damaged is named."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rheostat.base.errors import FileNotUsable, InternalError, WouldOverwrite
from rheostat.base.shapes import BlockDiagram, Grid, Profile, Scatter, TokenStrip
from rheostat.report.folder import read_record, write_record
from rheostat.studies.record import Measurement, Record, Section, Verdict

PROFILE = Profile(
    "profile",
    "Profile",
    "block",
    "share",
    pd.DataFrame({"x": [0, 1], "value": [0.5, np.nan], "series": "a"}),
    reference={"chance": 0.1},
)
GRID = Grid(
    "grid",
    "Grid",
    "x",
    "y",
    "v",
    pd.DataFrame({"x": [0], "y": [1], "value": [2.0], "text": ["␣中"]}),
    centre=0.0,
    limits=(-1.0, 1.0),
)
SCATTER = Scatter("scatter", "Scatter", "x", "y", pd.DataFrame({"x": [0.1], "y": [0.2], "series": ["a"]}))
DIAGRAM = BlockDiagram(
    "diagram", "Diagram", pd.DataFrame({"block": [0], "point": ["attn_out"], "token": ["a"], "probability": [0.5]})
)
TOKENS = TokenStrip(
    "tokens",
    "Tokens",
    "score",
    pd.DataFrame({"token": [" a", "中"], "value": [0.5, np.nan]}),
    limits=(-2.0, 2.0),
    threshold=0.25,
)


def record(**given) -> Record:
    measured = Measurement("smol", "share", 0.1 + 0.2, 0.1, float("nan"), float("inf"), 24, "prompts", "random")
    fields = {
        "study": "decoding",
        "title": "Reading",
        "source": "a post",
        "arguments": {"blocks": [1, 2], "strength": float("-inf"), "nested": {"a": None, "b": True}, "word": "␣é"},
        "seed": 3,
        "models": ({"name": "smol"}, {"name": "gemma"}),
        "versions": {"torch": "2.15"},
        "started": "2025-01-01T00:00:00Z",
        "seconds": 1.25,
        "warnings": ("w",),
        "verdicts": (
            Verdict("decode-6", "s", "not testable here", "r", (measured,)),
            Verdict("decode-7", "s", "not", "r"),
        ),
        "sections": (Section("h", "t", ("profile", "grid"), ("scores",)),),
        "tables": {"scores": pd.DataFrame({"token": ["a", None], "rank": [1, 2], "value": [0.1, np.nan]})},
        "figures": {"profile": PROFILE, "grid": GRID, "scatter": SCATTER, "diagram": DIAGRAM, "tokens": TOKENS},
    }
    return Record(**{**fields, **given})


def same(left: object, right: object) -> bool:
    """Compare two records down to the last number; NaN equals NaN."""
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
        return True
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, part.name), getattr(right, part.name)) for part in dataclasses.fields(left)
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (left == right or (left != left and right != right))  # noqa: PLR0124


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "run"
    write_record(record(), folder)
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


def test_a_record_read_back_equals_the_one_written(folder):
    assert same(record(), read_record(folder))
    assert not same(record(), record(seed=4)), "the comparison can fail"


def test_the_folder_holds_every_file_and_no_leftover(folder):
    figures = [f"figures/{name}.{kind}" for name in record().figures for kind in ("csv", "parquet", "png")]
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == sorted(["index.html", "record.json", "tables/scores.parquet", *figures])


def test_record_json_is_strict_json(folder):
    def refuse(literal: str) -> None:
        raise AssertionError(f"{literal} is not JSON")

    data = json.loads((folder / "record.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert data["arguments"]["strength"] == {"$float": "-inf"}
    assert data["figures"]["grid"]["centre"] == 0


def test_writing_twice_gives_the_same_bytes(folder, tmp_path):
    write_record(record(), tmp_path / "again")
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes(), path.name


def test_numpy_numbers_and_paths_among_the_arguments_become_plain_values(tmp_path):
    write_record(
        record(arguments={"n": np.int64(3), "x": np.float32(0.5), "file": Path("a/b"), "pair": (1, 2)}), tmp_path
    )
    assert read_record(tmp_path).arguments == {"n": 3, "x": 0.5, "file": "a/b", "pair": [1, 2]}


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "", "a b"])
def test_a_name_that_is_no_file_name_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InternalError, match="no name"):
        write_record(record(tables={name: pd.DataFrame({"a": [1]})}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_argument_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(InternalError, match="cannot hold"):
        write_record(record(arguments={"f": object()}), tmp_path / "run")


def test_a_column_of_mixed_types_is_refused_and_leaves_no_partial_file(tmp_path):
    with pytest.raises(InternalError, match="mixed"):
        write_record(record(tables={"mixed": pd.DataFrame({"a": [1, "b"]})}), tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_without_a_record_is_named(tmp_path):
    with pytest.raises(FileNotUsable, match=r"record\.json cannot be read"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", ["tables/scores.parquet", "figures/grid.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really", b"\x80\x04N."])
def test_a_missing_or_damaged_table_is_named(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(FileNotUsable, match=name.rpartition("/")[2]):
        read_record(folder)


def changed(folder: Path, **given: object) -> None:
    data = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    (folder / "record.json").write_text(json.dumps({**data, **given}), encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("seed", "many"),
        ("verdicts", [{"claim": "c", "statement": "s", "verdict": "maybe", "reason": "r"}]),
        ("figures", {"grid": {"kind": "pie", "name": "n", "title": "t"}}),
        ("tables", ["../../secret"]),
        ("models", "smol"),
    ],
)
def test_a_record_with_a_wrong_field_is_refused(folder, field, value):
    changed(folder, **{field: value})
    with pytest.raises(FileNotUsable, match=r"record\.json"):
        read_record(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"$float": "three"}', "\udcff"])
def test_a_damaged_record_json_is_refused(folder, text):
    (folder / "record.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileNotUsable, match=r"record\.json"):
        read_record(folder)


def test_a_record_that_is_there_is_replaced_only_when_asked(tmp_path):
    write_record(record(), tmp_path)
    with pytest.raises(WouldOverwrite):
        write_record(record(title="another"), tmp_path)
    assert read_record(tmp_path).title == record().title
    write_record(record(title="another"), tmp_path, overwrite=True)
    assert read_record(tmp_path).title == "another"


def test_a_full_disk_is_told_in_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    write_record(record(), tmp_path)

    def full(*_arguments, **_settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(FileNotUsable, match="No space left on device"):
        write_record(record(title="another"), tmp_path, overwrite=True)
    assert read_record(tmp_path).title == record().title
    assert not list(tmp_path.rglob("*.part"))
