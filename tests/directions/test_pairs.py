"""Contrast pairs in the forms of other libraries, from memory and from files."""

import json
from dataclasses import dataclass

import pytest

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.directions.pairs import ContrastPair, as_pairs, read_pairs


@dataclass
class DatasetEntry:
    """As repeng has it."""

    positive: str
    negative: str


CAA = {"question": "Tea?", "answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}
LISTS = {"positives": ["a", "b"], "negatives": ["c", "d"]}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([("a", "b"), ["c", "d"]], [ContrastPair("a", "b"), ContrastPair("c", "d")]),
        ([DatasetEntry("a", "b")], [ContrastPair("a", "b")]),
        ([ContrastPair("a", "b", "g")], [ContrastPair("a", "b", "g")]),
        ([{"positive": "a", "negative": "b", "group": 3, "more": 1}], [ContrastPair("a", "b", "3")]),
        ([{"positive": "a", "negative": "b", "group": None}], [ContrastPair("a", "b")]),
        ([CAA], [ContrastPair("Tea? (A)", "Tea? (B)")]),
        (LISTS, [ContrastPair("a", "c"), ContrastPair("b", "d")]),
        (
            {**LISTS, "groups": ["g", 3], "prompts": []},
            [ContrastPair("a", "c", "g"), ContrastPair("b", "d", "3")],
        ),
        ([{"prompt": "x", "positive": "a", "negative": "b"}], [ContrastPair("xa", "xb")]),
        (
            [{**LISTS, "prompts": ["x", "y"]}, ("e", "f")],
            [ContrastPair("xa", "xc"), ContrastPair("yb", "yd"), ContrastPair("e", "f")],
        ),
    ],
)
def test_every_form_is_read(asked, found):
    assert as_pairs(asked) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "no pairs were given"),
        ("ab", "no list of pairs"),
        ([("a", "b"), ("a", "b", "c")], "pair 1 is"),
        ([("a", 3)], "pair 0 is"),
        ([{"positive": "a", "negativ": "b"}], "pair 0 is"),
        ([{"positive": "a", "negative": "b", "group": ["x"]}], "pair 0 is"),
        ([("a", "b"), ("", "b")], "pair 1 has an empty text"),
        ([("a", "a")], "pair 0: both texts are 'a'"),
        ({"positives": ["a"], "negatives": ["b", "c"]}, "lists of equal length"),
        ({"positives": "ab", "negatives": "cd"}, "lists of equal length"),
        (
            [{"positive": "a", "negative": "b", "groups": "x"}],
            "pair 0 has 'groups', which is not read. Call it 'group'",
        ),
        ([{**CAA, "Group": "x"}], "pair 0 has 'Group', which is not read. Call it 'group'"),
        ({**LISTS, "prompt": ["x", "y"]}, "lists side by side have 'prompt', which is not read. Call it 'prompts'"),
        ({**LISTS, "groups": ["x"]}, "lists of equal length"),
        ([{"positive": "a", "negative": "b", "prompt": 3}], "pair 0 is"),
        ({"positives": ["a"], "negatives": [3], "prompts": ["x"]}, "pair 0 is"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_number(asked, said):
    with pytest.raises(BadArgument, match=said):
        as_pairs(asked)


@pytest.mark.parametrize(
    "text",
    [
        '{"positive": "a\\u2028b", "negative": "c"}\n\n["d", "e"]\n',
        '[{"positive": "a\\u2028b", "negative": "c"},\n ["d", "e"]]',
        '["a\\u2028b", "c"]\r\n["d", "e"]',
    ],
    ids=["lines", "one list", "lists in lines"],
)
def test_files_hold_a_pair_per_line_or_one_list(tmp_path, text):
    path = tmp_path / "pairs.jsonl"
    for begin in ("", "\ufeff"):
        path.write_bytes((begin + text.replace("\\u2028", "\u2028")).encode())
        assert read_pairs(path) == [ContrastPair("a\u2028b", "c"), ContrastPair("d", "e")]


def test_a_file_with_one_pair_as_a_list_holds_that_pair(tmp_path):
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(["a", "b"]))
    assert read_pairs(path) == [ContrastPair("a", "b")]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b'["a", "b"]\n{', FileNotUsable, r"pairs\.jsonl, line 2 is no JSON"),
        (b"\xff\xfe", FileNotUsable, r"pairs\.jsonl cannot be read as pairs"),
        (b"", BadArgument, r"pairs\.jsonl: no pairs"),
        (b"[]", BadArgument, r"pairs\.jsonl: no pairs"),
        (b'["a", "b"]\n3', BadArgument, r"pairs\.jsonl: pair 1 is 3"),
        (b'"ab"', BadArgument, r"pairs\.jsonl: pair 0 is 'ab'"),
    ],
)
def test_a_file_that_holds_no_pairs_is_refused(tmp_path, content, error, said):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(error, match=said):
        read_pairs(path)
    with pytest.raises(FileNotUsable, match="cannot be read"):
        read_pairs(tmp_path / "none.jsonl")
