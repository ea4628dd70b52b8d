"""Positions count a row's own tokens, special ones included and pads never."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import AmbiguousPosition, BadArgument, NeedsTokenizer, PositionNotFound
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions
from tests.contract.conftest import load_toy

SITE = "blocks.1.resid_post"
TEXTS = ["w5 w9 w30 w12 w7", "w44 w9", "w9 w21 w60"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("last", (7,)),
        ("all", tuple(range(8))),
        ("prompt", tuple(range(8))),
        ("generated", ()),
        (0, (0,)),
        (-2, (6,)),
        ([3, -1, 0], (3, 7, 0)),
        (slice(1, None), (1, 2, 3, 4, 5, 6, 7)),
        (slice(-3, -1), (5, 6)),
        (slice(None, None, 3), (0, 3, 6)),
        ("Paris", (1,)),
        (" Berlin", (4, 5)),
        ("erli", (4, 5)),
        ("Ber", (4,)),
        ("not Ber", (3, 4)),
        ("Paris is", (1, 2)),
        (" it", (7,)),
        (Positions.substring("not"), (3,)),
    ],
)
def test_positions_are_these_tokens(asked, expected, capitals):
    assert Positions.parse(asked).in_prompt(capitals) == expected


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (8, PositionNotFound, "8 tokens"),
        (-9, PositionNotFound, "8 tokens"),
        ([0, 8], PositionNotFound, "position 8"),
        (slice(8, None), PositionNotFound, "empty"),
        ("Rome", PositionNotFound, "does not contain 'Rome'"),
        ("berlin", PositionNotFound, "does not contain 'berlin'"),
        (" is", AmbiguousPosition, "occurs 2 times: .* at character 5; .* at character 19"),
        ("", BadArgument, "names no token"),
        (slice(None, None, 0), BadArgument, "step"),
        (True, BadArgument, "True"),
        ([1.5], BadArgument, "indices"),
    ],
)
def test_positions_that_do_not_exist_are_refused(asked, error, message, capitals):
    with pytest.raises(error, match=message):
        Positions.parse(asked).in_prompt(capitals)


def test_a_substring_that_overlaps_itself_is_ambiguous():
    row = Row((1, 2), "aaa", ((0, 1), (1, 3)))
    with pytest.raises(AmbiguousPosition, match="occurs 2 times"):
        Positions.substring("aa").in_prompt(row)


def test_a_substring_spelled_like_a_keyword_needs_its_own_constructor():
    row = Row((1, 2, 3), "the last word", ((0, 3), (3, 8), (8, 13)))
    assert Positions.parse("last").in_prompt(row) == (2,)
    assert Positions.substring("last").in_prompt(row) == (1,)


def test_a_substring_in_token_ids_needs_a_text():
    with pytest.raises(NeedsTokenizer, match="w5"):
        load_toy("llama").run([5, 6], rh.Zero(SITE, positions="w5"))


@pytest.mark.parametrize(
    "asked",
    [
        "last",
        "generated",
        Positions.generated(3),
        3,
        -1,
        [2, -1],
        slice(1, None),
        slice(None, -1, 2),
        "Paris",
        Positions.substring("all"),
    ],
)
def test_positions_survive_json(asked):
    positions = Positions.parse(asked)
    assert Positions.from_json(positions.to_json()) == positions


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        "Paris",
        {},
        {"substring": ""},
        {"index": "1"},
        {"slice": ["a", None, None]},
        {"offset": 2},
        {"generated": 0},
        {"generated": True},
    ],
)
def test_json_that_names_no_positions_is_refused(data):
    with pytest.raises(BadArgument, match="names no positions"):
        Positions.from_json(data)


@pytest.fixture(scope="module")
def alone() -> list[torch.Tensor]:
    return [load_toy("llama").capture(text, SITE)[SITE][0] for text in TEXTS]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("last", ((4,), (1,), (2,))),
        ("all", ((0, 1, 2, 3, 4), (0, 1), (0, 1, 2))),
        (-2, ((3,), (0,), (1,))),
        (1, ((1,), (1,), (1,))),
        (slice(1, None), ((1, 2, 3, 4), (1,), (1, 2))),
        ("w9", ((1,), (1,), (0,))),
    ],
)
def test_in_a_ragged_batch_each_row_counts_its_own_tokens(side, asked, expected, alone):
    model = load_toy("llama")
    batch = model.capture(TEXTS, SITE, asked, padding_side=side)
    assert batch.positions == expected
    changed = model.run(TEXTS, rh.Zero(SITE, positions=asked), padding_side=side).receipt
    assert changed.tokens == sum(map(len, expected))
    for whole, positions, found in zip(alone, expected, batch.rows(SITE), strict=True):
        torch.testing.assert_close(found, whole[list(positions)], rtol=0, atol=1e-9)


def test_a_position_that_one_row_lacks_is_refused_for_the_batch():
    with pytest.raises(PositionNotFound, match="row of 2 tokens"):
        load_toy("llama").capture([[5, 9, 30], [4, 6]], SITE, 2)
